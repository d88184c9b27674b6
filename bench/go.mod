module github.com/millrace/millrace/bench

go 1.26.0

require (
	github.com/millrace/millrace v0.0.0
	github.com/redis/rueidis v1.0.79
)

require (
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/millrace/millrace => ../
