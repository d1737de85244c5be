package ledger

// recycle seals all logs into one table, which overwrites the reserve, and reuses the newest log's file as the new
// log. It therefore needs no space, and the log keeps its preallocated space. It blocks all other calls. l.merge is
// held.
//
// After a kill between creating the table and renaming the log, the next Open finds the log in the table and removes
// it. After a kill between the rename and the new header, it finds the last records a second time as the newest,
// which is correct.
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
			l.closed = true // a write to the log would now be removed with it
		}
		return err
	}
	l.tables = append(l.tables, t)
	l.log.renew(n, l.syncDir)
	for _, f := range logs[:len(logs)-1] {
		f.close()
		l.cfg.FS.Remove(l.logPath(f.number)) // if it remains, the next Open removes it
	}
	l.frozen, l.older, l.mem = nil, nil, newMemory()
	l.sealed.Broadcast()
	return l.syncDir()
}

// renew makes the renamed f an empty log with number n. If its header cannot be written, f keeps its content, which
// does no harm.
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
	f.failed = f.file.Sync() // before any frame: the old header with new frames would be a damaged log
}
