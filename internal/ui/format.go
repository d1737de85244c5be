package ui

import (
	"strconv"
	"time"
)

// ago writes how long before now t is, or how long after: 40s ago, 3m ago, in 30d. It has one
// unit, the largest of which there are at least two, and rounds to the nearest.
func ago(t, now time.Time) string {
	d, before, after := now.Sub(t), "", " ago"
	if d < 0 {
		d, before, after = -d, "in ", ""
	}
	if d < time.Second {
		return "now"
	}
	return before + span(d) + after
}

// span writes a duration with one unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{365 * day, "y"}, {day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= 2*u.of {
			return strconv.FormatInt(int64(d.Round(u.of)/u.of), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d.Round(time.Second)/time.Second), 10) + "s"
}

// short writes a duration with three or four digits: 1.23ms, 4.567s, 1h2m3s.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
