// Package volume makes the directories that pods mount: config maps as files, and empty directories on disk or in memory.
package volume
