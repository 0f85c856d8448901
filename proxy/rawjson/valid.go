package rawjson

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// depthMost is how many values may stand in one another, as encoding/json takes it.
const depthMost = 10_000

// Valid reports what [encoding/json.Valid] does, in a fraction of the time.
func Valid(document []byte) bool {
	valid, _ := check(document)
	return valid
}

// Clean returns a document as any reader takes it, and whether it is valid. It is the same one unless its strings hold bytes
// that are no text, or spell half a character: then those are U+FFFD, as encoding/json has it.
func Clean(document []byte) (clean []byte, valid bool) {
	valid, halves := check(document)
	if !valid || !halves && utf8.Valid(document) {
		return document, valid
	}
	from := 0
	Strings(document, func(s []byte) bool {
		halves := false
		if validString(s, 0, &halves); !halves && utf8.Valid(s) {
			return true
		}
		var text string
		json.Unmarshal(s, &text) //nolint:errcheck // a string
		begin := cap(document) - cap(s)
		clean = append(append(clean, document[from:begin]...), Quote(text)...)
		from = begin + len(s)
		return true
	})
	return append(clean, document[from:]...), true
}

// check reports whether a document is valid, and if so whether a string spells half a character.
func check(b []byte) (valid, halves bool) {
	var objects [depthMost/64 + 1]uint64 // which of the values that are open are objects, a bit each
	depth := 0
	for at := space(b, 0); at < len(b); {
		object := false
		switch b[at] { // a value begins here
		case '{', '[':
			if depth == depthMost {
				return false, false
			}
			object = b[at] == '{'
			objects[depth/64] &^= 1 << (depth % 64)
			if object {
				objects[depth/64] |= 1 << (depth % 64)
			}
			depth++
			at = space(b, at+1)
			if at < len(b) && (b[at] == '}' && object || b[at] == ']' && !object) {
				break // it is empty, and ends below
			}
			if object {
				at = validName(b, at, &halves)
			}
			continue
		case '"':
			at = validString(b, at, &halves)
		default:
			at = validWord(b, at)
		}
		for { // a value has ended here
			if at = space(b, at); depth == 0 {
				return at == len(b), halves
			}
			if at >= len(b) {
				return false, false
			}
			object = objects[(depth-1)/64]&(1<<((depth-1)%64)) != 0
			if b[at] == ',' {
				if at = space(b, at+1); object {
					at = validName(b, at, &halves)
				}
				break
			}
			if b[at] != '}' && object || b[at] != ']' && !object {
				return false, false
			}
			depth--
			at++
		}
	}
	return false, false
}

// invalid is where something is that is no JSON: behind every document.
const invalid = int(^uint(0) >> 2)

// validName is where the value of a field begins whose name begins at at.
func validName(b []byte, at int, halves *bool) int {
	if at >= len(b) || b[at] != '"' {
		return invalid
	}
	if at = space(b, validString(b, at, halves)); at >= len(b) || b[at] != ':' {
		return invalid
	}
	return space(b, at+1)
}

// validString is where the string that begins at at has ended. It notes when the string spells half a character.
func validString(b []byte, at int, halves *bool) int {
	for at++; ; at += 2 {
		if at = special(b, at); at >= len(b) || b[at] < ' ' {
			return invalid
		}
		if b[at] == '"' {
			return at + 1
		}
		if at+1 >= len(b) {
			return invalid
		}
		switch b[at+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			unit, ok := escaped(b, at)
			if !ok {
				return invalid
			}
			if !utf16.IsSurrogate(unit) {
				break
			}
			low, ok := escaped(b, at+6)
			if !ok || utf16.DecodeRune(unit, low) == unicode.ReplacementChar {
				*halves = true
				break
			}
			at += 6
		default:
			return invalid
		}
	}
}

// escaped is what \uXXXX at at says, and whether it stands there.
func escaped(b []byte, at int) (unit rune, ok bool) {
	if at+6 > len(b) || b[at] != '\\' || b[at+1] != 'u' {
		return 0, false
	}
	for _, c := range b[at+2 : at+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// validWord is where the number, true, false or null that begins at at has ended.
func validWord(b []byte, at int) int {
	for _, word := range []string{"true", "false", "null"} {
		if b[at] == word[0] {
			if len(b)-at < len(word) || string(b[at:at+len(word)]) != word {
				return invalid
			}
			return at + len(word)
		}
	}
	digits := func() bool {
		begin := at
		for at < len(b) && '0' <= b[at] && b[at] <= '9' {
			at++
		}
		return at > begin
	}
	if b[at] == '-' {
		at++
	}
	if at < len(b) && b[at] == '0' {
		at++
	} else if !digits() {
		return invalid
	}
	if at < len(b) && b[at] == '.' {
		if at++; !digits() {
			return invalid
		}
	}
	if at < len(b) && b[at]|0x20 == 'e' {
		if at++; at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		if !digits() {
			return invalid
		}
	}
	return at
}

const (
	ones = 0x0101010101010101 // of every byte the lowest bit
	tops = 0x8080808080808080 // and the highest
)

// special is where, from at on, the first byte is that ends a string, escapes the next one or may not stand in one; len(b)
// without any. It looks at eight bytes at once: subtracting leaves the highest bit of a byte that was smaller, and what that
// borrows changes only bytes behind it. Source: Bit Twiddling Hacks, "Determine if a word has a byte less than n".
func special(b []byte, at int) int {
	for ; at+8 <= len(b); at += 8 {
		x := binary.LittleEndian.Uint64(b[at:])
		mark, escape := x^'"'*ones, x^'\\'*ones
		found := ((x-' '*ones)&^x | (mark-ones)&^mark | (escape-ones)&^escape) & tops
		if found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	for ; at < len(b); at++ {
		if c := b[at]; c == '"' || c == '\\' || c < ' ' {
			return at
		}
	}
	return len(b)
}
