package bus

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

const (
	encodingHeader = "Headway-Encoding"
	// compressAbove is where the bytes saved begin to outweigh being able to read a value with other tools.
	compressAbove = 32 << 10
	// maxDecoded bounds what a message may unfold to.
	maxDecoded = 64 << 20
)

// encoded is a value that is JSON already.
type encoded []byte

// encode gives a value as JSON, compressed when it is large.
func encode(v any) (nats.Header, []byte, error) {
	data, ok := v.(encoded)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			return nil, nil, fmt.Errorf("encode %T: %w", v, err)
		}
	}
	if len(data) <= compressAbove {
		return nil, data, nil
	}
	return nats.Header{encodingHeader: []string{"s2"}}, s2.Encode(nil, data), nil
}

// decode reads what encode wrote.
func decode(header nats.Header, data []byte, into any) error {
	text, err := unpack(header, data)
	if err != nil {
		return fmt.Errorf("decode %T: %w", into, err)
	}
	return unmarshal(text, into)
}

// unpack gives the JSON of what encode wrote.
func unpack(header nats.Header, data []byte) ([]byte, error) {
	switch encoding := header.Get(encodingHeader); encoding {
	case "":
		return data, nil
	case "s2":
		size, err := s2.DecodedLen(data)
		if err == nil && size > maxDecoded {
			err = errors.New("it would unfold to more than is allowed")
		}
		if err == nil {
			data, err = s2.Decode(nil, data)
		}
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return data, nil
	default:
		return nil, fmt.Errorf("unknown encoding %q: was it written by a newer headway?", encoding)
	}
}

func unmarshal(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode %T: %w", into, err)
	}
	return nil
}
