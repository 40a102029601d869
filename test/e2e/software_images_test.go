package e2e_test

import (
	"embed"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"headway.dev/headway/internal/debimage"
	"headway.dev/headway/internal/testimage"
)

//go:embed testdata/software
var software embed.FS

// scripted is a file of testdata/software/images that an image has at a path, executable if it is a script.
func scripted(t *testing.T, file string) testimage.File {
	t.Helper()
	data, err := software.ReadFile("testdata/software/images/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(file) == ".sh" {
		return testimage.Program(data)
	}
	return testimage.Text(string(data))
}

// users are what the images have instead of busybox's.
func users(name, id string) map[string]testimage.File {
	return map[string]testimage.File{
		"etc/passwd": testimage.Text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n" + name + ":x:" + id + ":" + id + "::/:/bin/false\n"),
		"etc/group":  testimage.Text("root:x:0:\nnogroup:x:65534:\n" + name + ":x:" + id + ":\n"),
		"root":       {Mode: fs.ModeDir | 0o700},
		"run":        {Mode: fs.ModeDir},
		"var/run":    {Mode: fs.ModeSymlink, Link: "/run"},
		// Entry points of databases hand their data over to the user that serves it.
		"bin/chown": {Mode: fs.ModeSymlink, Link: "busybox"},
	}
}

func with(files map[string]testimage.File, more map[string]testimage.File) map[string]testimage.File {
	maps.Copy(files, more)
	return files
}

const systemPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// softwareRecipes make images that behave as the public ones of the same names do, from Debian's packages.
func softwareRecipes(t *testing.T) []debimage.Recipe {
	t.Helper()
	directory, stdout := testimage.File{Mode: fs.ModeDir}, testimage.File{Mode: fs.ModeSymlink, Link: "/dev/stdout"}
	return []debimage.Recipe{
		{
			Name: "nginx", Packages: []string{"nginx"}, Keep: []string{"usr/sbin/nginx", "etc/nginx/mime.types"},
			Files: with(users("nginx", "101"), map[string]testimage.File{
				"docker-entrypoint.sh":            scripted(t, "nginx/docker-entrypoint.sh"),
				"etc/nginx/nginx.conf":            scripted(t, "nginx/nginx.conf"),
				"etc/nginx/conf.d/default.conf":   scripted(t, "nginx/default.conf"),
				"usr/share/nginx/html/index.html": testimage.Text("<h1>Welcome to nginx!</h1>\n"),
				"var/lib/nginx":                   directory,
				"var/log/nginx/access.log":        stdout,
				"var/log/nginx/error.log":         {Mode: fs.ModeSymlink, Link: "/dev/stderr"},
			}),
			Config: v1.Config{
				Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"}, Env: []string{systemPath},
				ExposedPorts: map[string]struct{}{"80/tcp": {}}, StopSignal: "SIGQUIT",
			},
		},
		{
			Name: "redis", Packages: []string{"redis-server", "util-linux"},
			Keep: []string{"usr/bin/redis-server", "usr/bin/redis-cli", "usr/bin/setpriv"},
			Files: with(users("redis", "999"), map[string]testimage.File{
				"usr/local/bin/docker-entrypoint.sh": scripted(t, "redis/docker-entrypoint.sh"),
				"data":                               directory,
			}),
			Config: v1.Config{
				Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"redis-server"}, Env: []string{systemPath},
				WorkingDir: "/data", Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"6379/tcp": {}},
			},
		},
		{
			Name: "postgres", Packages: []string{"postgresql", "util-linux"},
			Keep: []string{
				"usr/lib/postgresql/*/bin/postgres", "usr/lib/postgresql/*/bin/initdb", "usr/lib/postgresql/*/bin/psql", "usr/lib/postgresql/*/bin/createdb",
				"usr/lib/postgresql/*/bin/pg_ctl", "usr/lib/postgresql/*/bin/pg_isready", "usr/lib/postgresql/*/lib/plpgsql.so",
				"usr/lib/postgresql/*/lib/dict_snowball.so", "usr/lib/postgresql/*/lib/*_and_*.so", "usr/share/postgresql",
				"usr/share/zoneinfo/Etc", "usr/lib/locale/C.utf8", "usr/bin/setpriv",
			},
			Links: map[string]string{"usr/local/pgsql": "usr/lib/postgresql/*"},
			Files: with(users("postgres", "999"), map[string]testimage.File{
				"usr/local/bin/docker-entrypoint.sh": scripted(t, "postgres/docker-entrypoint.sh"),
				"var/lib/postgresql/data":            directory,
				"docker-entrypoint-initdb.d":         directory,
			}),
			Config: v1.Config{
				Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"postgres"},
				Env:     []string{systemPath + ":/usr/local/pgsql/bin", "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"},
				Volumes: map[string]struct{}{"/var/lib/postgresql/data": {}}, ExposedPorts: map[string]struct{}{"5432/tcp": {}},
				StopSignal: "SIGINT",
			},
		},
	}
}

// softwareImages makes the images, or takes those that an earlier run has kept. It skips the test where there are no
// packages to make them from.
func softwareImages(t *testing.T) map[string]v1.Image {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir() // without a home directory nothing is kept
	}
	images := map[string]v1.Image{}
	for _, r := range softwareRecipes(t) {
		image, err := r.Image(t.Context(), filepath.Join(cache, "headway-test-images"))
		if errors.Is(err, debimage.ErrNoPackages) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		images[r.Name] = image
	}
	return images
}
