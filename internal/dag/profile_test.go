package dag

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestWellKnownCIDs: the CIDs of the empty file, the empty directory and a short file are well known.
func TestWellKnownCIDs(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		profile                Profile
		empty, hello, emptyDir string
	}{
		{UnixFSv0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"},
		{UnixFSv1, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am", "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"},
	} {
		var bs MemBlocks
		for text, want := range map[string]string{"": tc.empty, "hello\n": tc.hello} {
			e, err := AddFile(ctx, &bs, bytes.NewReader([]byte(text)), tc.profile)
			if err != nil || e.CID.String() != want {
				t.Errorf("%s: file %q: got %s (%v), want %s", tc.profile.Name, text, e.CID, err, want)
			}
		}
		e, err := NewDirWriter(&bs, tc.profile).Finish(ctx)
		if err != nil || e.CID.String() != tc.emptyDir {
			t.Errorf("%s: empty directory: got %s (%v), want %s", tc.profile.Name, e.CID, err, tc.emptyDir)
		}
	}
}

func TestProfileByName(t *testing.T) {
	for _, p := range []Profile{UnixFSv0, UnixFSv1} {
		if got, err := ProfileByName(p.Name); err != nil || got != p {
			t.Errorf("%s: %+v, %v", p.Name, got, err)
		}
	}
	if _, err := ProfileByName("unixfs-v9"); err == nil || !strings.Contains(err.Error(), UnixFSv1.Name) {
		t.Errorf("an unknown profile: %v", err)
	}
}
