// Command spin prints a line and never ends. It reads the clock as it goes, so that
// the host gets a word in.
package main

import (
	"fmt"
	"time"
)

func main() {
	fmt.Println("spinning")
	for time.Now().Year() > 0 {
	}
}
