// Command icons draws the icons in assets/icons from assets/icon.svg, with rsvg-convert (Debian: librsvg2-bin).
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

var (
	states  = []string{"running", "stopped", "attention", "busy"}
	sizes   = []int{16, 20, 24, 32, 48, 64, 256} // in an ICO, in pixels
	element = regexp.MustCompile(`(?m)^.*class="state (\w+)".*\n`)
	fill    = regexp.MustCompile(`fill="#[0-9a-f]{6}"`)
	width   = regexp.MustCompile(`stroke-width="[0-9.]+"`)
	stroke  = regexp.MustCompile(`stroke="#[0-9a-f]{6}"`)
)

func main() {
	svg, err := os.ReadFile("assets/icon.svg")
	check(err)
	for _, state := range states {
		drawing := element.ReplaceAllStringFunc(string(svg), func(line string) string {
			if strings.Contains(line, `class="state `+state+`"`) {
				return line
			}
			return ""
		})
		write(state+".png", draw(drawing, 64))
		write(state+"-template.png", draw(template(drawing), 44))
		var pictures [][]byte
		for _, size := range sizes {
			pictures = append(pictures, draw(drawing, size))
		}
		write(state+".ico", ico(pictures))
	}
}

// template is the drawing in black on nothing: macOS colours it, so a state shows by its shape alone. The body becomes an
// outline, with a gap around the shape, so that the two don't run into one another.
func template(svg string) string {
	var picture, shape []string
	for line := range strings.Lines(svg) {
		switch {
		case strings.Contains(line, `class="body"`):
			picture = append(picture, fill.ReplaceAllString(line, `fill="none" stroke="#000000" stroke-width="1.5"`))
		case strings.Contains(line, `class="state`):
			shape = append(shape, line)
		case strings.Contains(line, `class="line"`):
			picture = append(picture, stroke.ReplaceAllString(line, `stroke="#000000"`))
		}
	}
	badge, gap := strings.Join(shape, ""), ""
	gap = stroke.ReplaceAllString(fill.ReplaceAllString(badge, `fill="#000000"`), `stroke="#000000"`)
	gap = width.ReplaceAllString(gap, `stroke-width="3"`)
	black := fill.ReplaceAllString(badge, `fill="#000000"`)
	if strings.Contains(badge, "stopped") || strings.Contains(badge, "busy") {
		black = fill.ReplaceAllString(badge, `fill="none"`) // an outline, where running is a disc
	}
	black = width.ReplaceAllString(stroke.ReplaceAllString(black, `stroke="#000000"`), `stroke-width="1.2"`)
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><mask id="gap"><rect width="16" height="16" fill="#ffffff"/>` + gap +
		`</mask><g mask="url(#gap)">` + strings.Join(picture, "") + `</g>` + black + `</svg>`
}

func draw(svg string, size int) []byte {
	cmd := exec.Command("rsvg-convert", "-w", strconv.Itoa(size), "-h", strconv.Itoa(size))
	cmd.Stdin = strings.NewReader(svg)
	out, err := cmd.Output()
	check(err)
	return out
}

// ico puts PNGs into one file. Source: the ICO format of Windows Vista and later.
func ico(pictures [][]byte) []byte {
	var b bytes.Buffer
	put := func(v any) { check(binary.Write(&b, binary.LittleEndian, v)) }
	put([]uint16{0, 1, uint16(len(pictures))})
	offset := 6 + 16*len(pictures)
	for i, p := range pictures {
		put([]uint8{uint8(sizes[i]), uint8(sizes[i]), 0, 0}) // 256 is written as 0
		put([]uint16{1, 32})
		put([]uint32{uint32(len(p)), uint32(offset)})
		offset += len(p)
	}
	for _, p := range pictures {
		b.Write(p)
	}
	return b.Bytes()
}

func write(name string, raw []byte) { check(os.WriteFile("assets/icons/"+name, raw, 0o644)) }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "icons:", err)
		os.Exit(1)
	}
}
