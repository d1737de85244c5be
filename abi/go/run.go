package liftoff

import "strings"

// Args returns the Task's arguments, without a program name.
func Args() ([]string, error) {
	b, err := text("args", func(p []byte) int64 { return hostArgs(ptr(p), size(p)) })
	return words(b), err
}

// Env returns the Task's environment as sorted "K=V".
func Env() ([]string, error) {
	b, err := text("env", func(p []byte) int64 { return hostEnv(ptr(p), size(p)) })
	return words(b), err
}

// words splits strings that are each terminated by a NUL.
func words(b []byte) []string {
	var ws []string
	for w := range strings.SplitAfterSeq(string(b), "\x00") {
		if w != "" {
			ws = append(ws, strings.TrimSuffix(w, "\x00"))
		}
	}
	return ws
}

// Level is the severity of a log line.
type Level uint32

// The levels.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// Log writes a line to the Outcome's stderr.
func Log(level Level, line string) error {
	p := []byte(line)
	_, err := check("log", hostLog(uint32(level), ptr(p), size(p)))
	return err
}

// Progress reports that done of total units are finished. It is only a hint, and not
// part of the output.
func Progress(done, total int64) error {
	_, err := check("progress", hostProgress(done, total))
	return err
}

// Status turns the error of a guest's run into the return code of liftoff_run: 0 for
// nil, else 1 after logging err.
func Status(err error) int32 {
	if err == nil {
		return 0
	}
	_ = Log(LevelError, err.Error()) // the run has failed: an error here cannot be reported
	return 1
}
