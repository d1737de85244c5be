package ledger

// recycle seals all logs into one table, over the reserve, and begins a new log in the place of the newest one: so it
// takes no room, and the room that the log has ahead stays its own. Nothing else can be done meanwhile. l.merge is
// held.
//
// A kill between the table and the log's new name finds the log in the table, and removes it. One between the
// new name and the new header finds the last records once more, as the newest: they are.
func (l *Ledger) recycle() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	logs, all := l.logs(), newMemory()
	if l.frozen != nil {
		all.add(l.frozen.mem)
	}
	all.add(l.mem)
	t, err := l.build(logs[0].number, l.log.number, all, true)
	if err != nil {
		return err
	}
	path, n := l.logPath(l.log.number), l.log.number+1
	if err := l.cfg.FS.Rename(path, l.logPath(n)); err != nil {
		t.release()
		if l.cfg.FS.Remove(t.path) != nil || l.syncDir() != nil {
			l.closed = true // what would be written to the log now would be removed with it
		}
		return err
	}
	l.tables = append(l.tables, t)
	l.log.renew(n, l.syncDir)
	for _, f := range logs[:len(logs)-1] {
		f.close()
		l.cfg.FS.Remove(l.logPath(f.number)) // if it stays, the next Open removes it
	}
	l.frozen, l.older, l.mem = nil, nil, newMemory()
	l.sealed.Broadcast()
	return l.syncDir()
}

// renew makes f, which was renamed, an empty log of that number. When its header cannot be written it holds what it
// held, which does no harm.
func (f *logFile) renew(n uint32, syncDir func() error) {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.number, f.syncDir = n, syncDir
	h := newHeader()
	if _, err := f.file.WriteAt(h, 0); err != nil {
		return
	}
	f.secret, _ = secretOf(h)
	f.size = logHeader
	f.written.Add(1)
	f.failed = f.file.Sync() // before there are frames: the old header with new ones would be a damaged log
}
