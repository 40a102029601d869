// Package logfile reads and bounds the files that containers' output is appended to.
//
// The writer of such a file is another process that knows nothing of its readers or of any limit. So the file is bounded
// by taking the disk space from its head: it keeps its length and its offsets, and no line is lost that lies within the
// limit. What was taken reads as zeros, which the readers here leave out. When its lines were written is noted beside it.
package logfile
