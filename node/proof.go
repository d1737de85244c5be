package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

var errUnkept = api.Errorf(api.CodeFault, "this repo keeps no receipts")

func (v *View) Receipts(context.Context) ([]api.ReceiptInfo, error) { return nil, nil }
func (v *View) ReceiptsOf(context.Context, cid.Cid) ([]api.ReceiptInfo, error) {
	return nil, nil
}
func (v *View) FindReceipt(context.Context, string) (api.ReceiptInfo, error) {
	return api.ReceiptInfo{}, errUnkept
}
func (v *View) AddReceipt(context.Context, []byte) (cid.Cid, error) { return cid.Undef, errUnkept }
func (v *View) Memos(context.Context) ([]api.Memo, error)           { return nil, nil }
func (v *View) Forget(context.Context, cid.Cid) error               { return errUnkept }
func (v *View) Trust(context.Context, string, string) error         { return errUnkept }
func (v *View) Distrust(context.Context, string) error              { return errUnkept }
func (v *View) Trusted(context.Context) ([]api.TrustedKey, error)   { return nil, nil }
func (v *View) Identity(context.Context) (api.ID, error)            { return api.ID{}, errUnkept }
