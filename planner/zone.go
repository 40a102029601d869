package planner

import (
	"archive/zip"
	"bytes"
	_ "embed" // the time zones
	"fmt"
	"io"
	"time"
)

// zoneinfo is the IANA database as Go ships it (lib/time/zoneinfo.zip). The standard library would look for the machine's
// own before it, so that two machines could plan two things.
//
//go:generate sh -c "cp $(go env GOROOT)/lib/time/zoneinfo.zip zoneinfo.zip"
//go:embed zoneinfo.zip
var zoneinfo []byte

// zones are the time zones looked up in one pass.
type zones struct {
	database *zip.Reader
	known    map[string]*time.Location
}

// load gives a time zone by its name, such as Europe/Berlin; the empty name is UTC.
func (z *zones) load(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if location, ok := z.known[name]; ok {
		return location, nil
	}
	location, err := z.read(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w; write a name of the IANA database, such as Europe/Berlin", name, err)
	}
	if z.known == nil {
		z.known = map[string]*time.Location{}
	}
	z.known[name] = location
	return location, nil
}

func (z *zones) read(name string) (*time.Location, error) {
	var err error
	if z.database == nil {
		if z.database, err = zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo))); err != nil {
			return nil, err
		}
	}
	file, err := z.database.Open(name)
	if err != nil {
		return nil, fmt.Errorf("it is not known: %w", err)
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(name, data)
}
