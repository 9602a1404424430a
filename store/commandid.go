package store

// CommandID returns what tells a command from every other one that a replica ever proposed, for logs that
// must not take the same command twice. It is false for bytes that are not a command.
func CommandID(command []byte) ([16]byte, bool) {
	var id [16]byte
	if _, _, err := decodeHeader(command); err != nil {
		return id, false
	}
	copy(id[:], command[commandHeader-len(id):])
	return id, true
}
