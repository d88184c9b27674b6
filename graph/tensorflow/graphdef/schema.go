package graphdef

// message is what the text form may have of a protobuf message: fields by name.
type message map[string]field

// field is a field's number and kind.
type field struct {
	num  int32
	kind fieldKind
	of   string // the message, of a field of kind msg
}

type fieldKind uint8

const (
	varint fieldKind = iota // int32, int64, uint32, uint64, bool
	float
	double
	text // string or bytes
	dataType
	msg
)

func ints(num int32) field                { return field{num: num, kind: varint} }
func texts(num int32) field               { return field{num: num, kind: text} }
func types(num int32) field               { return field{num: num, kind: dataType} }
func msgs(num int32, of string) field     { return field{num: num, kind: msg, of: of} }
func entryOf(key, value field) message    { return message{"key": key, "value": value} }
func stringMap(num int32, v string) field { return msgs(num, "map of "+v) }

// schema has the messages that are read, with the fields that matter. Other fields are skipped.
var schema = map[string]message{
	"GraphDef":   {"node": msgs(1, "NodeDef"), "library": msgs(2, "Library"), "version": ints(3), "versions": msgs(4, "VersionDef")},
	"VersionDef": {"producer": ints(1), "min_consumer": ints(2), "bad_consumers": ints(3)},
	"NodeDef":    {"name": texts(1), "op": texts(2), "input": texts(3), "device": texts(4), "attr": stringMap(5, "AttrValue")},
	"Library":    {"function": msgs(1, "FunctionDef")},
	"FunctionDef": {
		"signature": msgs(1, "OpDef"), "node": msgs(2, "FunctionNode"), "node_def": msgs(3, "NodeDef"), "ret": stringMap(4, "string"),
		"attr": stringMap(5, "AttrValue"), "control_ret": stringMap(6, "string"),
	},
	// before version 0.12
	"FunctionNode": {"ret": texts(1), "op": texts(2), "arg": texts(3), "dep": texts(4), "attr": stringMap(5, "AttrValue")},

	"OpDef":  {"name": texts(1), "input_arg": msgs(2, "ArgDef"), "output_arg": msgs(3, "ArgDef")},
	"ArgDef": {"name": texts(1), "type": types(3), "type_attr": texts(4), "number_attr": texts(5), "type_list_attr": texts(6)},
	"AttrValue": {
		"list": msgs(1, "ListValue"), "s": texts(2), "i": ints(3), "f": {num: 4, kind: float}, "b": ints(5), "type": types(6),
		"shape": msgs(7, "TensorShapeProto"), "tensor": msgs(8, "TensorProto"), "placeholder": texts(9), "func": msgs(10, "NameAttrList"),
	},
	"ListValue": {
		"s": texts(2), "i": ints(3), "f": {num: 4, kind: float}, "b": ints(5), "type": types(6), "shape": msgs(7, "TensorShapeProto"),
		"tensor": msgs(8, "TensorProto"), "func": msgs(9, "NameAttrList"),
	},
	"NameAttrList":     {"name": texts(1), "attr": stringMap(2, "AttrValue")},
	"TensorShapeProto": {"dim": msgs(2, "Dim"), "unknown_rank": ints(3)},
	"Dim":              {"size": ints(1), "name": texts(2)},
	"TensorProto": {
		"dtype": types(1), "tensor_shape": msgs(2, "TensorShapeProto"), "version_number": ints(3), "tensor_content": texts(4),
		"float_val": {num: 5, kind: float}, "double_val": {num: 6, kind: double}, "int_val": ints(7), "string_val": texts(8),
		"scomplex_val": {num: 9, kind: float}, "int64_val": ints(10), "bool_val": ints(11), "dcomplex_val": {num: 12, kind: double},
		"half_val": ints(13), "uint32_val": ints(16), "uint64_val": ints(17),
	},
	"SavedModel": {"saved_model_schema_version": ints(1), "meta_graphs": msgs(2, "MetaGraphDef")},
	"MetaGraphDef": {
		"meta_info_def": msgs(1, "MetaInfoDef"), "graph_def": msgs(2, "GraphDef"), "saver_def": msgs(3, "SaverDef"),
		"collection_def": stringMap(4, "CollectionDef"), "signature_def": stringMap(5, "SignatureDef"), "asset_file_def": msgs(6, "AssetFileDef"), "object_graph_def": msgs(7, "SavedObjectGraph"),
	},
	"MetaInfoDef":   {"stripped_op_list": msgs(2, "OpList"), "tags": texts(4), "tensorflow_version": texts(5)},
	"OpList":        {"op": msgs(1, "OpDef")},
	"CollectionDef": {"node_list": msgs(1, "NameList"), "bytes_list": msgs(2, "NameList")},
	"NameList":      {"value": texts(1)},
	"SaverDef":      {"filename_tensor_name": texts(1), "save_tensor_name": texts(2), "restore_op_name": texts(3)},
	"SignatureDef": {
		"inputs": stringMap(1, "TensorInfo"), "outputs": stringMap(2, "TensorInfo"), "method_name": texts(3), "defaults": stringMap(4, "TensorProto"),
	},
	"TensorInfo": {
		"name": texts(1), "dtype": types(2), "tensor_shape": msgs(3, "TensorShapeProto"), "coo_sparse": msgs(4, "Any"), "composite_tensor": msgs(5, "Any"),
	},
	"AssetFileDef":     {"tensor_info": msgs(1, "TensorInfo"), "filename": texts(2)},
	"SavedObjectGraph": {"nodes": msgs(1, "SavedObject"), "concrete_functions": stringMap(2, "SavedConcreteFunction")},
	"SavedObject": {
		"children": msgs(1, "ObjectReference"), "user_object": msgs(4, "Any"), "asset": msgs(5, "Any"), "function": msgs(6, "Any"),
		"variable": msgs(7, "SavedVariable"), "bare_concrete_function": msgs(8, "Any"), "constant": msgs(9, "Any"),
		"resource": msgs(10, "Any"), "captured_tensor": msgs(12, "Any"),
	},
	"ObjectReference":       {"node_id": ints(1), "local_name": texts(2)},
	"SavedVariable":         {"trainable": ints(3), "name": texts(6)},
	"SavedConcreteFunction": {"bound_inputs": ints(2)},
	"Any":                   {},

	"map of AttrValue":             entryOf(texts(1), msgs(2, "AttrValue")),
	"map of string":                entryOf(texts(1), texts(2)),
	"map of CollectionDef":         entryOf(texts(1), msgs(2, "CollectionDef")),
	"map of SignatureDef":          entryOf(texts(1), msgs(2, "SignatureDef")),
	"map of TensorInfo":            entryOf(texts(1), msgs(2, "TensorInfo")),
	"map of TensorProto":           entryOf(texts(1), msgs(2, "TensorProto")),
	"map of SavedConcreteFunction": entryOf(texts(1), msgs(2, "SavedConcreteFunction")),
}
