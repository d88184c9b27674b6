package cli_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/cli"
)

func TestDemoStore(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "ceph.conf")
	if err := os.WriteFile(conf, []byte("fsid = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"XDG_DATA_HOME=/home/me", "AWS_ACCESS_KEY_ID=me", "AWS_SECRET_ACCESS_KEY=secret"}
	for _, tc := range []struct {
		spec string
		want app.StoreConfig
		home string // what it begins with
	}{
		{"disk", app.StoreConfig{Type: "disk", Dir: "data/cold"}, ""},
		{"disk:there", app.StoreConfig{Type: "disk", Dir: "there"}, filepath.Join("there", "node")},
		{"ceph:" + conf, app.StoreConfig{Type: "ceph", Conf: app.Path(conf), Pool: "millrace", User: "admin"}, "/home/me/millrace/demo/ceph-"},
		{"ceph:" + conf + ",pool=p,user=u", app.StoreConfig{Type: "ceph", Conf: app.Path(conf), Pool: "p", User: "u"}, "/home/me/millrace/demo/ceph-"},
		{"s3:https://s3.example.com:9000/b", app.StoreConfig{
			Type: "s3", Endpoint: "https://s3.example.com:9000", Bucket: "b", AccessKey: "me", SecretKey: "secret",
		}, "/home/me/millrace/demo/s3-"},
		{"s3:http://127.0.0.1/b/x/y/,region=r", app.StoreConfig{
			Type: "s3", Endpoint: "http://127.0.0.1", Bucket: "b", Prefix: "x/y", Region: "r", AccessKey: "me", SecretKey: "secret",
		}, "/home/me/millrace/demo/s3-"},
	} {
		got, home, err := cli.DemoStore(tc.spec, "data", environ)
		if err != nil || !reflect.DeepEqual(got, tc.want) || !strings.HasPrefix(home, tc.home) || (home == "") != (tc.home == "") {
			t.Errorf("%s: %+v, data in %q, %v", tc.spec, got, home, err)
		}
	}
	for spec, want := range map[string]string{
		"":                             "must be disk",
		"dsik":                         "did you mean disk?",
		"disk:":                        "nothing follows",
		"ceph":                         "ceph:CONF",
		"ceph:" + conf + ",pol=p":      `"pol=p" must be KEY=VALUE with a key of pool, user`,
		"ceph:" + conf + ",pool":       "must be KEY=VALUE",
		"ceph:" + conf + ",pool=":      "must be KEY=VALUE",
		"s3:bucket":                    "s3:URL/BUCKET",
		"s3:http://127.0.0.1":          "s3:URL/BUCKET",
		"s3:http://127.0.0.1/b,pool=p": "a key of region",
		"ceph:" + conf + ".not":        "no such file",
	} {
		if got, _, err := cli.DemoStore(spec, "data", environ); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", spec, got, err, want)
		}
	}
	if _, _, err := cli.DemoStore("ceph:"+conf, "data", nil); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("without a home: %v", err)
	}
}

// The node's data stays with its store: another pool has another, and so has a cluster that was made anew.
func TestDemoStaysWithItsStore(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "ceph.conf")
	home := func(cluster, options string) string {
		t.Helper()
		if err := os.WriteFile(conf, []byte("fsid = "+cluster+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, dir, err := cli.DemoStore("ceph:"+conf+options, "data", []string{"HOME=/home/me"})
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := home("1", "")
	if again := home("1", ""); again != first {
		t.Errorf("the same cluster: %s, then %s", first, again)
	}
	if same := home("1", ",pool=millrace,user=admin"); same != first {
		t.Errorf("what is left out means the same: %s, and %s", first, same)
	}
	for _, other := range []string{home("2", ""), home("1", ",pool=p"), home("1", ",user=u")} {
		if other == first {
			t.Errorf("another store has the same folder %s", other)
		}
	}
}
