package selfimage

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Executable returns the running program as a file at the given path, and with it the dynamic loader
// and the shared libraries that it needs. A static program needs none.
func Executable(at string) ([]File, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("selfimage: %w", err)
	}
	files := []File{{Path: at, Host: exe, Mode: 0o755}}
	found := map[string]bool{}
	if err := addLibraries(exe, found, &files); err != nil {
		return nil, fmt.Errorf("selfimage: %w", err)
	}
	return files, nil
}

// addLibraries appends what the ELF file needs, and what that needs.
func addLibraries(file string, found map[string]bool, files *[]File) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if loader := interpreter(f); loader != "" && !found[loader] {
		found[loader] = true
		*files = append(*files, File{Path: loader, Host: loader, Mode: 0o755})
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if found[name] {
			continue
		}
		found[name] = true
		host, err := findLibrary(name, f.Machine)
		if err != nil {
			return err
		}
		*files = append(*files, File{Path: filepath.Join("/usr/lib", name), Host: host, Mode: 0o755})
		if err := addLibraries(host, found, files); err != nil {
			return err
		}
	}
	return nil
}

func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		buf := make([]byte, p.Filesz)
		if _, err := p.ReadAt(buf, 0); err == nil {
			return strings.TrimRight(string(buf), "\x00")
		}
	}
	return ""
}

// findLibrary looks where the dynamic loader does: the directories of ld.so.conf, then the default ones.
func findLibrary(name string, machine elf.Machine) (string, error) {
	for _, dir := range append(configured("/etc/ld.so.conf"), "/lib64", "/usr/lib64", "/lib", "/usr/lib") {
		file := filepath.Join(dir, name)
		f, err := elf.Open(file)
		if err != nil {
			continue
		}
		ok := f.Machine == machine
		f.Close()
		if ok {
			return file, nil
		}
	}
	return "", errors.New("shared library " + name + " not found")
}

// configured reads the directories of an ld.so.conf file and of those that it includes.
func configured(conf string) []string {
	f, err := os.Open(conf)
	if err != nil {
		return nil
	}
	defer f.Close()
	var dirs []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			more, _ := filepath.Glob(strings.TrimSpace(pattern))
			for _, file := range more {
				dirs = append(dirs, configured(file)...)
			}
		} else if strings.HasPrefix(line, "/") {
			dirs = append(dirs, line)
		}
	}
	return dirs
}
