"""What a SavedModel's graph may hold: operators of TensorFlow that compute from their operands, and do nothing else.

TensorFlow runs whatever operators a graph names; some of them read and write files (ReadFile, SaveV2), call Python
(PyFunc), open sockets or libraries. So the lists are of what may run. A test asks TensorFlow about each: those that keep
state are control flow, variables that are read, checks and random numbers. Names of later versions are added once
somebody has read what they do.
"""

from __future__ import annotations

# Called functions, control flow of both kinds, lists and arrays of tensors that live inside one run.
STRUCTURE = """
Assert Const Enter EnsureShape EmptyTensorList Exit Identity IdentityN If LoopCond Merge NextIteration NoOp PartitionedCall
Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient Snapshot StatefulPartitionedCall StatelessCase StatelessIf
StatelessWhile StopGradient Switch TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3
TensorArrayV3 TensorArrayWriteV3 TensorListElementShape TensorListFromTensor TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListStack While
"""
# Variables are only read.
VARIABLES = "ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VariableShape VariableV2"
ARITHMETIC = """
Abs Acos Acosh Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2
BatchMatMulV3 Betainc BiasAdd BiasAddV1 Bincount BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast Ceil CheckNumerics Cholesky
ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum DenseBincount Digamma Div DivNoNan Einsum Elu Equal Erf
Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual HistogramFixedWidth Igamma Igammac Imag InTopKV2 Inv
Invert IsFinite IsInf IsNan L2Loss LeakyRelu LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogSoftmax LogicalAnd
LogicalNot LogicalOr MatMul MatrixBandPart MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Max Maximum Mean
Min Minimum Mod Mul MulNoNan Ndtri Neg NotEqual NthElement Polygamma Pow Prod Qr RandomStandardNormal RandomUniform
RandomUniformInt Range Real RealDiv Reciprocal Relu Relu6 RightShift Rint Round Rsqrt SelfAdjointEigV2 Selu Sigmoid Sign Sin
Sinh Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits Sqrt Square
SquaredDifference Sub Sum Svd Tan Tanh TopK TopKV2 TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
SHAPES = """
BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatV2 DepthToSpace Diag DiagPart DynamicPartition DynamicStitch
ExpandDims ExtractImagePatches Fill Gather GatherNd GatherV2 InvertPermutation LowerBound MatrixDiag MatrixDiagPart
MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad
PadV2 ParallelDynamicStitch Rank Reshape ReverseSequence ReverseV2 Roll ScatterNd SegmentMax SegmentMean SegmentMin
SegmentProd SegmentSum Select SelectV2 Shape ShapeN Size Slice SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice
TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate Tile Transpose Unique UniqueV2
UniqueWithCounts Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound
Where ZerosLike
"""
NETWORKS = """
AvgPool AvgPool3D CTCGreedyDecoder Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative
Dilation2D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2
FusedBatchNormV3 GRUBlockCell LRN LSTMBlockCell MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax QuantizeAndDequantizeV2
QuantizeAndDequantizeV4 _FusedBatchNormEx _FusedConv2D _FusedMatMul
"""
IMAGES_AND_SOUNDS = """
AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize FFT FFT2D FFT3D HSVToRGB IFFT IFFT2D IFFT3D
IRFFT IRFFT2D ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
NonMaxSuppressionV5 RFFT RFFT2D RGBToHSV ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""
SPARSE = """
DenseToDenseSetOperation RaggedGather RaggedRange RaggedTensorToTensor SparseFillEmptyRows SparseReshape SparseSegmentMean
SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum
SparseSegmentSumWithNumSegments SparseTensorDenseMatMul SparseToDense
"""
OPERATORS = frozenset(
    " ".join((STRUCTURE, VARIABLES, ARITHMETIC, SHAPES, NETWORKS, IMAGES_AND_SOUNDS, SPARSE)).split()
)
# Why some others are not in the lists, where that is of use to whoever wrote the network.
REASONS = {
    "PyFunc": "it calls Python", "PyFuncStateless": "it calls Python", "EagerPyFunc": "it calls Python",
    "ReadFile": "it reads a file", "WriteFile": "it writes a file", "MatchingFiles": "it lists files",
    "SaveV2": "it writes a file", "RestoreV2": "it reads a file", "PrintV2": "it writes text",
    "AssignVariableOp": "it changes a weight as it runs", "AssignAddVariableOp": "it changes a weight as it runs",
    "HashTableV2": "a table of words belongs to it", "LookupTableFindV2": "it looks up words in a table",
}  # fmt: skip
