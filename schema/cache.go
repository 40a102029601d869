package schema

import "sync"

// keepFor is how many compiles a result outlives its last use: long enough to go to another branch and back.
const keepFor = 4

// A cache keeps what was made of files and CUE packages, by their content. Its size follows that of the last few trees.
type cache struct {
	mu         sync.Mutex
	generation uint64
	files      map[fileKey]*kept[*fileResult]
	packages   map[string]*kept[*packageResult]
}

type fileKey struct{ path, content string }

type kept[T any] struct {
	used   uint64 // the newest generation that asked for it
	result T
}

// begin numbers a compile.
func (c *cache) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	if c.files == nil {
		c.files, c.packages = map[fileKey]*kept[*fileResult]{}, map[string]*kept[*packageResult]{}
	}
	return c.generation
}

// end forgets what has not been used for a while.
func (c *cache) end(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.files {
		if v.used+keepFor <= generation {
			delete(c.files, k)
		}
	}
	for k, v := range c.packages {
		if v.used+keepFor <= generation {
			delete(c.packages, k)
		}
	}
}

func (c *cache) file(path, content string, generation uint64) (*fileResult, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.files[fileKey{path, content}]
	if !ok {
		return nil, false
	}
	k.used = max(k.used, generation)
	return k.result, true
}

func (c *cache) keepFile(path, content string, generation uint64, r *fileResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[fileKey{path, content}] = &kept[*fileResult]{generation, r}
}
