package schema

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"

	"headway.dev/headway/api"
)

// generatedName gives a Job that leaves its name to the server one that stays as long as its content: generateName and a
// hash of the rest. So it runs once, and anew when anything in it changes; the Job that it was before is then gone from Git.
func (c *Compiler) generatedName(r *fileResult, doc *value) {
	metadata := doc.get("metadata")
	prefix := metadata.get("generateName")
	if doc.str("kind") != "Job" || prefix == nil || prefix.kind != stringKind || prefix.text == "" || metadata.str("name") != "" {
		return
	}
	content, err := json.Marshal(plainJSON(doc))
	if err != nil {
		return // a number that JSON does not have, which the checker refuses
	}
	const shown = 10
	sum := sha256.Sum256(content)
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:shown])
	name := &value{kind: stringKind, pos: prefix.pos, text: prefix.text + hash}
	metadata.drop("generateName", "name")
	metadata.fields = append(metadata.fields, field{"name", prefix.pos, name})
	r.notes = append(r.notes, note{key: "Job.metadata.generateName", problem: api.Problem{
		Source: prefix.pos, Ref: c.refOf(doc), Field: "metadata.generateName", Warning: true,
		Message: "the job is called " + shorten(name.text) + ", by a hash of its content: it runs again when that changes",
	}})
}
