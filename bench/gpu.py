"""PyTorch's side of the gpu suite: gpu.py NET FOLDER DEVICE.

FOLDER has weights.npz, with the weights as the ONNX file names them, and x.npy. "run N" on the standard input runs the net N times from memory of the
host to memory of the host, in float32 without TF32, and "save" writes y.npy; each is answered by a line "done". It says first which PyTorch it is.
"""

import os
import sys

import numpy
import torch
import torch.nn.functional as F

net, folder, device = sys.argv[1:]
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True  # it tries algorithms for the shapes, as onnxruntime does
weights = numpy.load(os.path.join(folder, "weights.npz"))
w = {name: torch.from_numpy(weights[name]).to(device) for name in weights.files}
x = torch.from_numpy(numpy.load(os.path.join(folder, "x.npy")))


def dense(name, x):
    return torch.addmm(w[name + ".bias"], x, w[name + ".weight"])


def conv(name, x, stride=1):
    weight = w[name + ".weight"]
    return F.conv2d(x, weight, w.get(name + ".bias") if net != "resnet18" else None, stride, weight.shape[2] // 2)


def norm(name, x):
    return F.batch_norm(x, w[name + ".mean"], w[name + ".variance"], w[name + ".scale"], w[name + ".bias"], False, 0.0, 1e-5)


def run_dense(x):
    return dense("dense3", F.relu(dense("dense2", F.relu(dense("dense1", x)))))


def run_conv(x):
    x = F.max_pool2d(F.relu(conv("conv1", x)), 2, 2)
    x = F.max_pool2d(F.relu(conv("conv2", x)), 2, 2)
    return dense("dense2", F.relu(dense("dense1", x.flatten(1))))


def run_resnet18(x):
    x = F.max_pool2d(F.relu(norm("stem", conv("stem", x, 2))), 3, 2, 1)
    for i in range(4):
        for j in range(2):
            name, stride, side = f"block{i}{j}", 2 if i > 0 and j == 0 else 1, x
            if i > 0 and j == 0:
                side = norm(name + ".side", conv(name + ".side", x, stride))
            y = F.relu(norm(name + ".a", conv(name + ".a", x, stride)))
            x = F.relu(norm(name + ".b", conv(name + ".b", y)) + side)
    return dense("dense", F.adaptive_avg_pool2d(x, 1).flatten(1))


run = {"dense": run_dense, "conv": run_conv, "resnet18": run_resnet18}[net]
print("PyTorch", torch.__version__, flush=True)
with torch.inference_mode():
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "run":
            for _ in range(int(rest[0])):
                y = run(x.to(device)).cpu()
        elif word == "save":
            numpy.save(os.path.join(folder, "y.npy"), y.numpy())
        else:
            sys.exit(f"there is no command {word}")
        print("done", flush=True)
