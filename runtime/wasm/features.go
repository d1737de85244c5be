package wasm

// uses is the set of features that a module uses beyond the first version of WebAssembly. All
// of them are part of WebAssembly 2.0 and are supported.
type uses uint

const (
	usesMultiValue uses = 1 << iota
	usesSignExtension
	usesSaturation
	usesBulk
	usesReferences
	usesVectors
)

// useNames are the names of the proposals that introduced them.
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
