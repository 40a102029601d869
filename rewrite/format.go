package rewrite

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"headway.dev/headway/api"
)

// A FileError says why a file is left as it is, and where.
type FileError struct {
	Position api.Position
	Message  string
}

func (e *FileError) Error() string { return e.Position.String() + ": " + e.Message }

// errUnsafe is the error of text that came out of formatting as something else.
func errUnsafe(file string) error {
	return &FileError{api.Position{File: file}, "cannot be formatted without a change of what it says: left as it is; please report it, with the file"}
}

// CUE formats a CUE file as cue fmt does. The error is a *FileError.
func CUE(file string, data []byte) ([]byte, error) {
	if _, err := parser.ParseFile(file, data, parser.ParseComments); err != nil {
		return nil, cueError(file, err)
	}
	out, err := format.Source(data)
	if err != nil {
		return nil, cueError(file, err)
	}
	// Formatting moves white space, and the commas that line ends stand for; indented strings are moved as a whole.
	if !bytes.Equal(essence(data, ","), essence(out, ",")) {
		return nil, errUnsafe(file)
	}
	return out, nil
}

func cueError(file string, err error) error {
	var positioned interface{ Position() token.Pos }
	e := &FileError{api.Position{File: file}, err.Error()}
	if errors.As(err, &positioned) {
		if p := positioned.Position(); p.IsValid() {
			e.Position.Line, e.Position.Column = p.Line(), p.Column()
		}
	}
	return e
}

// essence is text without white space, and without the characters of cut.
func essence(data []byte, cut string) []byte {
	return bytes.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune(cut, r) {
			return -1
		}
		return r
	}, data)
}

// yamlLine finds the line in an error of the YAML parser.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func yamlError(file string, err error) error {
	e := &FileError{api.Position{File: file}, err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		e.Message = "is not YAML: " + m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			e.Position.Line = n
		}
	}
	return e
}
