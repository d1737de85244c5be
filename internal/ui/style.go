package ui

// Style is how a cell looks on a terminal with colour.
type Style string

// The styles, as SGR parameters of the 16-colour set: every terminal's own theme decides what
// they look like.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
	Cyan   Style = "36"
)

// paint returns text in a style, when the screen has colour.
func (s *Screen) paint(style Style, text string) string {
	if !s.color || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}
