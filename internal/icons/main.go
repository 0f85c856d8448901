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

// template is the drawing in black on nothing: macOS colours it. The body becomes an outline.
func template(svg string) string {
	var out []string
	for line := range strings.Lines(svg) {
		switch {
		case strings.Contains(line, `class="body"`):
			line = fill.ReplaceAllString(line, `fill="none" stroke="#000000" stroke-width="1.5"`)
		case strings.Contains(line, `class="state`):
			line = stroke.ReplaceAllString(fill.ReplaceAllString(line, `fill="#000000"`), `stroke="#000000"`)
		default:
			line = stroke.ReplaceAllString(line, `stroke="#000000"`)
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
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
