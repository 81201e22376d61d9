// Package acl reads, edits, writes and evaluates the access control files of
// the Mosquitto broker (acl_file), for its lines 1.4, 1.5, 1.6, 2.0 and 2.1.
//
// Such a file is a sequence of lines:
//
//	# clients without a user name
//	topic read announcements/#
//
//	user iotagent
//	topic read /#
//	topic write /+/+/config
//
//	# everybody; %u is the user name, %c the client identifier
//	pattern write /devices/%u/attrs
//
// A topic line belongs to the user line above it, and to clients without a
// user name when there is none. A pattern line belongs to everybody wherever
// it stands. The access word is read, write, readwrite or deny; a line
// without one grants both directions. Blocks of the same user are one.
//
// [File] is the text: [Parse] accepts what the broker loads and nothing else,
// edits change the lines of one user, and everything else is written back
// byte for byte. It is made for files of a million users. [Policy] is the
// meaning: [File.Compile] makes one, and its verdicts are the broker's. Where
// versions of the broker differ, [ParseVersion] tells them apart.
// [Store] is the managed file on disk: it applies changes durably, shares one
// write and one reload among concurrent callers, and keeps what other people
// edit meanwhile.
//
// [Vet] finds lines that don't do what they seem to, [Diff] tells what a
// change means to whom, and [Compact] replaces the stanzas of a uniform fleet
// by patterns, for brokers that take too long to load a million users.
//
// What edits add has the one form that brokers of every version read the
// same way: names and topics that could be read as something else, such as
// one with a line feed in it, are refused and never escaped, since the format
// has no way to say them.
//
// The package doesn't signal the broker: see [StoreOptions]. Bridges that a
// broker starts itself, and plugins, are not subject to the file.
package acl
