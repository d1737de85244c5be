package runtimetest

import "embed"

//go:generate sh -c "for f in testdata/*.wat; do wat2wasm --debug-names $f -o ${f%.wat}.wasm || exit 1; done"

// modules are the guests of the suite: each .wasm is built from the .wat beside it.
//
//go:embed testdata/*.wasm
var modules embed.FS

// Module returns the guest of that name; testdata/<name>.wat says what it does.
func Module(name string) []byte {
	b, err := modules.ReadFile("testdata/" + name + ".wasm")
	if err != nil {
		panic(err) // not in testdata
	}
	return b
}
