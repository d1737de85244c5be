package wasi

// errno is an error number of WASI preview 1, as guests see it. 0 is success. It does not
// implement error: what ends a run is an error, and a panic (see [System]).
type errno uint32

// The error numbers in use.
// https://github.com/WebAssembly/WASI/blob/snapshot-01/phases/snapshot/docs.md#-errno-variant
const (
	eOK          errno = 0
	eBADF        errno = 8
	eEXIST       errno = 20
	eFAULT       errno = 21
	eFBIG        errno = 22
	eILSEQ       errno = 25
	eINVAL       errno = 28
	eIO          errno = 29
	eISDIR       errno = 31
	eLOOP        errno = 32
	eMFILE       errno = 33
	eNAMETOOLONG errno = 37
	eNOENT       errno = 44
	eNOSYS       errno = 52
	eNOTDIR      errno = 54
	eNOTEMPTY    errno = 55
	eNOTSUP      errno = 58
	eROFS        errno = 69
	eSPIPE       errno = 70
	eXDEV        errno = 75
)
