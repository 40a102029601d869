// Package volume makes the directories that pods mount: empty ones on disk or in memory, files with what the pod is given
// (config maps, secrets, what is known of it), and those of the machine itself.
package volume
