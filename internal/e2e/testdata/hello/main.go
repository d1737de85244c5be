// Command hello is the smallest Go guest that uses fmt.
package main

import "fmt"

func main() { fmt.Println("hello") }
