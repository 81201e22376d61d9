//go:build !linux

package acl

func adviseHugePages([]byte) error { return nil }
