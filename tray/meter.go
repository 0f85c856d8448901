package tray

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/draw"
	"image/png"
)

// The colours of the meter: on its way, nearly full, and what is left.
var (
	meterUsed = color.NRGBA{0x4c, 0xaf, 0x50, 0xff}
	meterFull = color.NRGBA{0xff, 0x98, 0x00, 0xff}
	meterLeft = color.NRGBA{0xff, 0xff, 0xff, 0xe0}
)

// withMeter draws a share, in percent, as a bar along the lower edge of a picture. A negative share leaves the picture
// as it is. A template has black only, since the system colours it.
func withMeter(picture []byte, percent float64, template bool) []byte {
	if percent < 0 {
		return picture
	}
	source, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		panic(err) // the icons are part of the program
	}
	size := source.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, size.Dx(), size.Dy()))
	draw.Draw(out, out.Bounds(), source, size.Min, draw.Src)
	used, left := meterUsed, meterLeft
	if percent >= nearlyFull {
		used = meterFull
	}
	if template {
		used, left = color.NRGBA{A: 0xff}, color.NRGBA{A: 0x50}
	}
	height := max(size.Dy()/6, 2)
	bar := image.Rect(0, size.Dy()-height, size.Dx(), size.Dy())
	draw.Draw(out, bar, image.NewUniform(left), image.Point{}, draw.Src)
	bar.Max.X = int(float64(size.Dx())*percent/100 + 0.5)
	draw.Draw(out, bar, image.NewUniform(used), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, out); err != nil {
		panic(err) // into memory
	}
	return b.Bytes()
}

// toICO wraps a PNG of at most 256 pixels. Source: the ICO format of Windows Vista and later.
func toICO(picture []byte) []byte {
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		panic(err) // our own
	}
	var b bytes.Buffer
	for _, v := range []any{
		[]uint16{0, 1, 1}, []uint8{uint8(config.Width), uint8(config.Height), 0, 0}, []uint16{1, 32},
		[]uint32{uint32(len(picture)), 6 + 16},
	} {
		binary.Write(&b, binary.LittleEndian, v) //nolint:errcheck // into memory
	}
	b.Write(picture)
	return b.Bytes()
}
