// Package image keeps the container images of one node: it pulls them from registries over the
// OCI distribution protocol (or imports them from an OCI layout or a saved tar), unpacks each layer
// once, and hands out the directories that overlayfs stacks into a root file system.
//
// A layer is identified by the digest of its uncompressed tar (the "diff ID" of the OCI image
// specification), and shared by all images that contain it. It becomes visible only after both of
// its digests, the compressed and the uncompressed one, have been checked: it is unpacked into a
// temporary directory that is renamed at the end, and what a killed program leaves half unpacked is
// removed by the next Open.
//
// Image content is not trusted. See DESIGN.md for what is refused, and why.
package image
