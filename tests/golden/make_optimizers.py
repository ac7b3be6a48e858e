"""Writes optimizers.json: what PyTorch's optimizers, clipping and schedules do in ten steps.

Run it by hand where PyTorch is installed, and commit what it writes:
    python3 make_optimizers.py > optimizers.json
engine/optim must follow within the rounding of single precision (tests/engine/optim/parity_test.cc).
"""
import json

import torch

STEPS = 10
SHAPES = {"0.weight": (3, 5), "0.bias": (7,), "1.weight": (17,)}
torch.set_num_threads(1)


def floats(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().flatten().tolist()]


def draw(seed, scale=1.0):
    torch.manual_seed(seed)
    return {name: torch.randn(shape) * scale for name, shape in SHAPES.items()}


START = draw(1)
# Of very different sizes from step to step, so that the second moments matter.
GRADIENTS = [draw(100 + s, scale=0.1 * 3 ** (s % 4)) for s in range(STEPS)]


def run(make, groups=None, max_norm=None):
    parameters = {name: torch.nn.Parameter(t.clone()) for name, t in START.items()}
    if groups is None:
        optimizer = make(list(parameters.values()))
    else:
        optimizer = make([dict(params=[parameters[n] for n in g.pop("names")], **g) for g in groups])
    norms = []
    for gradients in GRADIENTS:
        for name, p in parameters.items():
            p.grad = gradients[name].clone()
        if max_norm is not None:
            norms.append(float(torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_norm)))
        optimizer.step()
    states = {
        name: {k: floats(v) for k, v in optimizer.state[p].items() if torch.is_tensor(v) and v.dim() > 0}
        for name, p in parameters.items()
    }
    result = {"values": {n: floats(p) for n, p in parameters.items()}, "states": states}
    if norms:
        result["max_norm"] = max_norm
        result["norms"] = norms
    return result


def case(kind, groups=None, max_norm=None, **options):
    result = run(lambda p: getattr(torch.optim, kind)(p, **options), groups, max_norm)
    return {"kind": kind, "options": options, **result}


def average(decay):
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(START["1.weight"].clone())
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for gradients in GRADIENTS:
        model.p.grad = gradients["1.weight"].clone()
        optimizer.step()
        averaged.update_parameters(model)
    return {"decay": decay, "lr": 0.1, "average": floats(averaged.module.p)}


def rates(make, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    result = []
    for _ in range(total):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(result) < total:
            scheduler.step()
    return result


def warm_cosine(optimizer, warmup, floor, total):
    lr = torch.optim.lr_scheduler
    return lr.SequentialLR(optimizer, [
        lr.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup),
        lr.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=floor),
    ], milestones=[warmup])


lr = torch.optim.lr_scheduler
document = {
    "torch": torch.__version__.split("+")[0],
    "shapes": {n: list(s) for n, s in SHAPES.items()},
    "start": {n: floats(t) for n, t in START.items()},
    "gradients": [{n: floats(t) for n, t in g.items()} for g in GRADIENTS],
    "cases": {
        "sgd": case("SGD", lr=0.1),
        "sgd_weight_decay": case("SGD", lr=0.1, weight_decay=0.01),
        "sgd_momentum": case("SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
        "sgd_dampening": case("SGD", lr=0.1, momentum=0.9, dampening=0.5),
        "sgd_nesterov": case("SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        "sgd_maximize": case("SGD", lr=0.1, momentum=0.9, weight_decay=0.01, maximize=True),
        "adam": case("Adam", lr=0.01),
        "adam_weight_decay": case("Adam", lr=0.01, weight_decay=0.1),
        "adam_betas": case("Adam", lr=0.01, betas=[0.0, 0.9], eps=1e-3),
        "adam_amsgrad": case("Adam", lr=0.01, betas=[0.5, 0.6], amsgrad=True, weight_decay=0.1),
        "adam_maximize": case("Adam", lr=0.01, maximize=True, weight_decay=0.1),
        "adamw": case("AdamW", lr=0.01),
        "adamw_weight_decay": case("AdamW", lr=0.01, weight_decay=0.3),
        "adamw_amsgrad": case("AdamW", lr=0.01, betas=[0.8, 0.7], amsgrad=True),
        "adamw_clipped": case("AdamW", lr=0.01, max_norm=2.0),
        "sgd_clipped": case("SGD", lr=0.1, momentum=0.9, max_norm=2.0),
        # The same options, bias and scale without decay, and the last one slower.
        "adamw_no_decay": case("AdamW", lr=0.01, weight_decay=0.3, groups=[
            {"names": ["0.weight"]},
            {"names": ["0.bias"], "weight_decay": 0.0},
            {"names": ["1.weight"], "weight_decay": 0.1, "lr": 0.0025},
        ]),
    },
    "average": average(0.9),
    "schedules": {
        "step": {"every": 3, "gamma": 0.3, "factors": rates(lambda o: lr.StepLR(o, 3, 0.3), 10)},
        "cosine": {"warmup_steps": 0, "floor": 0.1,
                   "factors": rates(lambda o: lr.CosineAnnealingLR(o, 20, 0.1), 20)},
        "warm_cosine": {"warmup_steps": 4, "floor": 0.05,
                        "factors": rates(lambda o: warm_cosine(o, 4, 0.05, 20), 20)},
        "one_cycle": {"factors": rates(
            lambda o: lr.OneCycleLR(o, max_lr=1.0, total_steps=20, cycle_momentum=False), 20)},
        "one_cycle_options": {
            "pct_start": 0.45, "div_factor": 10.0, "final_div_factor": 50.0,
            "factors": rates(lambda o: lr.OneCycleLR(
                o, max_lr=1.0, total_steps=23, pct_start=0.45, div_factor=10.0, final_div_factor=50.0,
                cycle_momentum=False), 23)},
        "one_cycle_short": {"factors": rates(
            lambda o: lr.OneCycleLR(o, max_lr=1.0, total_steps=2, cycle_momentum=False), 2)},
    },
}
print(json.dumps(document, indent=None, separators=(",", ":")).replace('},"', '},\n"'))
