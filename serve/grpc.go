package serve

import "fmt"

// GRPCCode is a status code of gRPC (its documentation, "Status codes and their use in gRPC"), without its library.
type GRPCCode uint32

// The codes that the table uses.
const (
	GRPCCanceled           GRPCCode = 1
	GRPCInvalidArgument    GRPCCode = 3
	GRPCDeadlineExceeded   GRPCCode = 4
	GRPCNotFound           GRPCCode = 5
	GRPCAlreadyExists      GRPCCode = 6
	GRPCPermissionDenied   GRPCCode = 7
	GRPCResourceExhausted  GRPCCode = 8
	GRPCFailedPrecondition GRPCCode = 9
	GRPCAborted            GRPCCode = 10
	GRPCUnimplemented      GRPCCode = 12
	GRPCInternal           GRPCCode = 13
	GRPCUnavailable        GRPCCode = 14
	GRPCDataLoss           GRPCCode = 15
	GRPCUnauthenticated    GRPCCode = 16
)

// String returns the code's name as gRPC's documentation writes it.
func (c GRPCCode) String() string {
	switch c {
	case GRPCCanceled:
		return "CANCELLED"
	case GRPCInvalidArgument:
		return "INVALID_ARGUMENT"
	case GRPCDeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case GRPCNotFound:
		return "NOT_FOUND"
	case GRPCAlreadyExists:
		return "ALREADY_EXISTS"
	case GRPCPermissionDenied:
		return "PERMISSION_DENIED"
	case GRPCResourceExhausted:
		return "RESOURCE_EXHAUSTED"
	case GRPCFailedPrecondition:
		return "FAILED_PRECONDITION"
	case GRPCAborted:
		return "ABORTED"
	case GRPCUnimplemented:
		return "UNIMPLEMENTED"
	case GRPCInternal:
		return "INTERNAL"
	case GRPCUnavailable:
		return "UNAVAILABLE"
	case GRPCDataLoss:
		return "DATA_LOSS"
	case GRPCUnauthenticated:
		return "UNAUTHENTICATED"
	}
	return fmt.Sprintf("CODE(%d)", uint32(c))
}
