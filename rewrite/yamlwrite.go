package rewrite

import (
	"cmp"
	"slices"
	"strings"
)

// write gives the lines as they belong.
func (l *layout) write() string {
	var out []string
	last := mark{} // of the line that a following one continues
	blank, finish := false, "\n"
	emit := func(s string) {
		if blank && len(out) > 0 {
			out = append(out, "")
		}
		blank = false
		out = append(out, s)
	}
	for i := 0; i < len(l.lines); i++ {
		text := l.lines[i]
		trimmed := strings.TrimSpace(text)
		marks, ok := l.tokens[i]
		switch {
		case ok:
			var line string
			line, last = rewriteLine(text, marks)
			emit(strings.TrimRight(line, " \t"))
		case trimmed == "":
			if l.continued(i) {
				out = append(out, "") // in a text of several lines, a blank one says something
			} else {
				blank = true
			}
			continue
		case trimmed[0] == '#':
			emit(indented(l.commentColumn(i, indentOf(text)), trimmed))
		case text[0] != ' ' && text[0] != '\t':
			last = mark{}
			emit(strings.TrimRight(text, " \t")) // a document's marker, or a value at the top
		default:
			emit(indented(indentOf(text)+last.to-last.from, trimmed))
		}
		if b, ok := l.blocks[i]; ok {
			end := l.blockEnd(i, b)
			if end == len(l.lines) {
				finish = "" // a text that ends without a line end would get one
			}
			out = append(out, l.block(i+1, end, b)...)
			i = end - 1
		}
	}
	return strings.Join(out, "\n") + finish
}

func indented(column int, text string) string { return strings.Repeat(" ", max(column, 0)) + text }

func indentOf(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// rewriteLine puts the tokens that a line starts with into their columns. It returns the last of them too.
func rewriteLine(text string, marks []mark) (string, mark) {
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.from, b.from) })
	var b strings.Builder
	written := 0 // columns
	for i, m := range marks {
		if m.to > written {
			b.WriteString(strings.Repeat(" ", m.to-written))
			written = m.to
		}
		end := len(text)
		if i+1 < len(marks) {
			end = byteColumn(text, marks[i+1].from)
		}
		part := text[byteColumn(text, m.from):end]
		if i+1 < len(marks) {
			part = strings.TrimRight(part, " \t")
		} else if rest, ok := strings.CutPrefix(part, "- "); ok {
			part = "- " + strings.TrimLeft(rest, " ")
		}
		b.WriteString(part)
		written += len([]rune(part))
	}
	return b.String(), marks[len(marks)-1]
}

// continued tells whether the text of the line before goes on after a blank line.
func (l *layout) continued(i int) bool {
	for ; i < len(l.lines); i++ {
		text := strings.TrimSpace(l.lines[i])
		if text == "" {
			continue
		}
		_, token := l.tokens[i]
		return !token && text[0] != '#' && strings.HasPrefix(l.lines[i], " ")
	}
	return false
}

// commentColumn is where a comment on a line of its own belongs: with the line below it, or with the one above it, if it
// has that one's column.
func (l *layout) commentColumn(i, column int) int {
	next, found := mark{}, false
	for j := i + 1; j < len(l.lines) && !found; j++ {
		if strings.HasPrefix(l.lines[j], "---") {
			break
		}
		if marks := l.tokens[j]; len(marks) > 0 {
			next, found = slices.MinFunc(marks, byFrom), true
		}
	}
	if found && column <= next.from {
		return next.to
	}
	// Deeper than what follows, it belongs to what came before.
	best := next
	for j := i - 1; j >= 0; j-- {
		if strings.HasPrefix(l.lines[j], "---") {
			break
		}
		marks := l.tokens[j]
		if len(marks) == 0 {
			continue
		}
		for _, m := range marks {
			if m.from <= column && m.from > best.from {
				best = m
			}
		}
		break
	}
	return best.to
}

func byFrom(a, b mark) int { return cmp.Compare(a.from, b.from) }

// blockEnd is the line after a literal or folded text.
func (l *layout) blockEnd(i int, b block) int {
	end, content := i+1, -1
	for j := i + 1; j < len(l.lines); j++ {
		if strings.Trim(l.lines[j], " ") == "" {
			continue
		}
		indent := indentOf(l.lines[j])
		if indent <= b.parent || content >= 0 && indent < content && !b.explicit {
			break
		}
		if content < 0 {
			content = indent
		}
		end = j + 1
	}
	// Blank lines at the end are part of the text only if it keeps them; they stay either way.
	for end < len(l.lines) && strings.Contains(l.lines[i], "+") && strings.Trim(l.lines[end], " ") == "" && end < len(l.lines)-1 {
		end++
	}
	return end
}

// block moves a literal or folded text to where it belongs, as a whole.
func (l *layout) block(from, to int, b block) []string {
	content := -1
	for _, line := range l.lines[from:to] {
		if strings.Trim(line, " ") != "" && (content < 0 || b.explicit && indentOf(line) < content) {
			content = indentOf(line)
		}
	}
	shift := max(b.target, 0) + step - content
	if b.target < 0 {
		shift = 0
	}
	if b.explicit {
		shift = b.target - b.parent
	}
	var out []string
	for _, line := range l.lines[from:to] {
		indent := indentOf(line)
		if indent == len(line) && indent <= content {
			out = append(out, "")
			continue
		}
		out = append(out, indented(indent+shift, line[indent:]))
	}
	return out
}
