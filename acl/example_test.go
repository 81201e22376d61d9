package acl_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/dojot/mqtt-manager-go/acl"
)

func ExampleFile_SetUser() {
	f, err := acl.Parse("access.acl", []byte(`# The agent reads what devices send.
user iotagent
topic read /#
`))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		changed, err := f.SetUser("admin:24f6",
			acl.Rule{Access: acl.Write, Topic: "/admin/24f6/attrs"},
			acl.Rule{Access: acl.Read, Topic: "/admin/24f6/config"},
		)
		fmt.Println(changed, err)
	}
	_, err = f.SetUser("x\ntopic readwrite #", acl.Rule{Access: acl.Write, Topic: "/admin/x/attrs"})
	fmt.Println(err)
	if _, err := f.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true <nil>
	// false <nil>
	// user name "x\ntopic readwrite #" holds U+000A (want no control characters and no noncharacters)
	// # The agent reads what devices send.
	// user iotagent
	// topic read /#
	// user admin:24f6
	// topic write /admin/24f6/attrs
	// topic read /admin/24f6/config
}

func ExamplePolicy_Explain() {
	f, err := acl.Parse("access.acl", []byte(`user iotagent
topic read /#

pattern write /devices/%u/attrs
`))
	if err != nil {
		log.Fatal(err)
	}
	v, err := acl.ParseVersion("2.0.11")
	if err != nil {
		log.Fatal(err)
	}
	policy := f.Compile(v)
	device := acl.Client{Username: "24f6", ID: "sensor-7"}
	for _, topic := range []string{"/devices/24f6/attrs", "/devices/24f/attrs"} {
		d := policy.Explain(device, acl.Write, topic)
		fmt.Printf("%v: %s\n", d.Allowed, d.Reason)
	}
	// Output:
	// true: line 4, "pattern write /devices/%u/attrs", allows it for user "24f6" with the client identifier "sensor-7"
	// false: no rule of user "24f6" and no pattern grants write on "/devices/24f/attrs"; the file has no rules of this user
}

func ExampleStore_Apply() {
	dir, err := os.MkdirTemp("", "acl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := acl.OpenStore(filepath.Join(dir, "access.acl"), acl.StoreOptions{
		Seed: []byte("user iotagent\ntopic read /#\n"),
		Written: func(context.Context) error {
			fmt.Println("the broker is told to reload") // by SIGHUP, say
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	err = store.Apply(context.Background(),
		acl.Change{User: "24f6", Rules: []acl.Rule{{Access: acl.Write, Topic: "/admin/24f6/attrs"}}},
		acl.Change{User: "24f7", Rules: []acl.Rule{{Access: acl.Write, Topic: "/admin/#/attrs"}}},
	)
	if failed := (*acl.StoreError)(nil); errors.As(err, &failed) {
		log.Fatal(err) // try again: nothing is sure
	}
	fmt.Println(err) // refused for good
	store.View(func(f *acl.File) {
		for user := range f.Users() {
			fmt.Println(user)
		}
	})
	// Output:
	// the broker is told to reload
	// change 2, of user "24f7": rule 1: topic "/admin/#/attrs" is not a valid filter: "#" must be the last level
	// iotagent
	// 24f6
}

func ExampleVet() {
	f, err := acl.Parse("access.acl", []byte(`user admin:24f6
topic write /+/24f6/attrs
topic read devices/%u/config
`))
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range acl.Vet(f, acl.Version{}) {
		fmt.Println(finding)
	}
	// Output:
	// line 2: broad: "/+/24f6/attrs" grants write everywhere; name the first level
	// line 2: tenant: device "admin:24f6" of tenant "admin" can write to "/+/24f6/attrs", which is another tenant's; name its own tenant
	// line 3: literal-name: %u and %c stand for nothing in the topic line of "devices/%u/config"; use a pattern line, or write the name
}

func ExampleCompact() {
	f, err := acl.Parse("access.acl", []byte(`user 24f6
topic write /admin/24f6/attrs
user 24f7
topic write /admin/24f7/attrs
`))
	if err != nil {
		log.Fatal(err)
	}
	_, err = acl.Compact(f, acl.CompactOptions{})
	fmt.Println(err)
	c, err := acl.Compact(f, acl.CompactOptions{
		Allow:   []acl.Widening{acl.WidenUnlisted},
		Removed: []string{"24f8"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.File.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	for _, d := range acl.Diff(f.Compile(acl.Version{}), c.File.Compile(acl.Version{})) {
		fmt.Println("everybody:", d.Everybody, "gained:", d.Gained, "lost:", d.Lost)
	}
	// Output:
	// patterns would grant more than the stanzas: users without a stanza, such as removed ones whose certificate is still good, get "write /admin/%u/attrs" (want "unlisted" to be allowed)
	// pattern write /admin/%u/attrs
	// user 24f8
	// topic deny #
	// everybody: true gained: [write /admin/%u/attrs] lost: []
}
