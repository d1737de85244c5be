// Command spin prints a line and never ends. It reads the clock in its loop, so that it calls
// the host.
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
