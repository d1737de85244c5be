//go:build !windows

package main

// The objects that --json prints in place of a word.

// cidReport names one block.
type cidReport struct {
	CID string `json:"cid"`
}

// gotReport is what get has written.
type gotReport struct {
	CID  string `json:"cid"`
	Path string `json:"path"`
}

// receiptName names a receipt.
type receiptName struct {
	Receipt string `json:"receipt"`
}

// invitationReport is a token that lets other nodes join.
type invitationReport struct {
	Token string `json:"token"`
}

// versionReport is what is known of the build.
type versionReport struct {
	Version string `json:"version"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Go      string `json:"go"`
}

// importedReport is a root of a CAR that was imported.
type importedReport struct {
	CID    string   `json:"cid"`
	Opaque []string `json:"opaque,omitempty"`
	Rest   string   `json:"rest,omitempty"`
}
