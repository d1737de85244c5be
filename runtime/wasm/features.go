package wasm

// uses is a set of what a module uses beyond the first version of WebAssembly. All of
// it is part of WebAssembly 2.0 and runs here.
type uses uint

const (
	usesMultiValue uses = 1 << iota
	usesSignExtension
	usesSaturation
	usesBulk
	usesReferences
	usesVectors
)

// useNames are the names of the proposals that they came from.
var useNames = []string{
	"multi-value", "sign-extension", "nontrapping-fptoint", "bulk-memory", "reference-types", "simd",
}

func (u uses) names() []string {
	names := []string{}
	for i, name := range useNames {
		if u&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}
