// Command guest is an ordinary program for WASI: maps, sorting, JSON, floats, hashing,
// recursion, a recovered panic, goroutines. Its argument is the amount of work.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	words := map[string]int{}
	for i := range 50 * n {
		words[strings.Repeat(string(rune('a'+i%7)), 1+i%5)]++
	}
	keys := make([]string, 0, len(words))
	for k := range words {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	b, err := json.Marshal(words)
	fmt.Println(len(keys), string(b), err)
	var back map[string]float64
	fmt.Println(json.Unmarshal(b, &back), len(back))

	sum := 0.0
	for i := range 100 * n {
		sum += math.Sqrt(float64(i)) * math.Sin(float64(i))
	}
	fmt.Println(sum, math.NaN(), math.Inf(1)-math.Inf(1), math.Float64bits(math.Log(-1)))
	fmt.Printf("%x\n", sha256.Sum256([]byte(strings.Repeat("x", 100*n))))
	fmt.Println(depth(10 * n))

	done := make(chan int)
	for i := range 5 {
		go func() { done <- i * i }()
	}
	total := 0
	for range 5 {
		total += <-done
	}
	defer func() {
		fmt.Println(total, recover())
		os.Exit(3)
	}()
	var none []int
	fmt.Println(none[total])
}

func depth(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + depth(n-1)
}
