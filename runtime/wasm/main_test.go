package wasm

import (
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		os.Exit(childMain(os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

// childCommand makes the test binary the compiler of Config.Compiler.
const childCommand = "compile-module"

func testCompiler(how string) []string { return []string{os.Args[0], childCommand, how} }

// childMain is the child process: correct, or wrong in the way that how names.
func childMain(how string) int {
	if name, ok := strings.CutPrefix(how, "bomb:"); ok {
		return admitBomb(name)
	}
	if wrong := wrongChildren[how]; wrong != nil {
		return wrong()
	}
	if err := CompileChild(context.Background(), os.Stdin, os.Stdout); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}
