package schema

import (
	"sync"
	"sync/atomic"
)

// keepFor is how many compiles a result outlives its last use: long enough to go to another branch and back.
const keepFor = 4

// A cache keeps what was made of files and CUE packages, by their content, and how directories were listed, by their
// hashes. Its size follows that of the last few trees.
type cache struct {
	mu         sync.Mutex
	generation uint64
	files      map[fileKey]*keptFile
	dirs       map[fileKey]*listedDir
	packages   map[string]*kept[*packageResult]
	order      order
}

// A fileKey is a path and the key of what is there.
type fileKey struct{ path, content string }

type kept[T any] struct {
	used   uint64 // the newest generation that asked for it
	result T
}

// A keptFile is a result that may be asked for without the cache's lock.
type keptFile struct {
	used   atomic.Uint64 // the newest generation that asked for it
	result *fileResult
}

func (k *keptFile) use(generation uint64) *fileResult {
	raise(&k.used, generation)
	return k.result
}

// raise sets a number that never goes down.
func raise(n *atomic.Uint64, to uint64) {
	for old := n.Load(); old < to && !n.CompareAndSwap(old, to); old = n.Load() {
	}
}

// begin numbers a compile.
func (c *cache) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	if c.files == nil {
		c.files, c.dirs, c.packages = map[fileKey]*keptFile{}, map[fileKey]*listedDir{}, map[string]*kept[*packageResult]{}
	}
	return c.generation
}

// end forgets what has not been used for a while.
func (c *cache) end(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.files {
		if v.used.Load()+keepFor <= generation {
			delete(c.files, k)
		}
	}
	for k, v := range c.dirs {
		if v.used.Load()+keepFor <= generation {
			delete(c.dirs, k)
		}
	}
	for k, v := range c.packages {
		if v.used+keepFor <= generation {
			delete(c.packages, k)
		}
	}
}

// file finds the result of a file. listed is the file's place in a listing with hashes, or nil.
func (c *cache) file(listed *listedFile, path, content string, generation uint64) (*fileResult, bool) {
	if listed != nil {
		if k := listed.kept.Load(); k != nil {
			return k.use(generation), true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.files[fileKey{path, content}]
	if !ok {
		return nil, false
	}
	if listed != nil {
		listed.kept.Store(k)
	}
	return k.use(generation), true
}

func (c *cache) keepFile(listed *listedFile, path, content string, generation uint64, r *fileResult) {
	k := &keptFile{result: r}
	k.used.Store(generation)
	if listed != nil {
		listed.kept.Store(k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[fileKey{path, content}] = k
}

// listed finds how a directory was listed when it had a hash, and with it all directories below.
func (c *cache) listed(path, hash string) (*listedDir, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.dirs[fileKey{path, hash}]
	return d, ok
}

func (c *cache) keepListed(path, hash string, d *listedDir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirs[fileKey{path, hash}] = d
}
