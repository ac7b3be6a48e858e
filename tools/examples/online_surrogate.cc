// A surrogate that learns while the simulation runs which it is to spare: the reaction rates of a
// little model of combustion, in cells of gas, as a function of a cell's state.
//
//   simulation:  d gas / dt = rates(gas) + inflow     solved in double, as many programs do
//   surrogate:   rates(gas), trained between the solver's steps on states that it saw
//   coupling:    an implicit solver needs d rates / d gas, which the surrogate's Jacobian gives
//
// RecentSamples is the memory of the last states: each training step draws some of them by lot
// (replay), so that the surrogate keeps what it learned of earlier ones.
#include <lockstep/lockstep.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

constexpr size_t kCells = 16, kState = 3, kRates = 2;
using Gas = std::array<double, kState>;  // temperature, fuel, oxygen
using Rates = std::array<double, kRates>;

// The part that costs time in a real program: Arrhenius' law for two reactions.
Rates RatesOf(const Gas& gas) {
  const double temperature = gas[0], fuel = gas[1], oxygen = gas[2];
  return {40.0 * fuel * oxygen * std::exp(-3.0 / temperature),
          2.0 * fuel * std::exp(-1.5 / temperature)};
}

// Temperature rises with what burns, and cools towards 1; fuel and oxygen flow in and out.
Gas Advance(const Gas& gas, const Rates& rates, double dt, double fuel, double oxygen) {
  return {gas[0] + dt * (1.5 * rates[0] + 0.3 * rates[1] - 0.8 * (gas[0] - 1.0)),
          gas[1] + dt * (fuel - rates[0] - rates[1] - 0.2 * gas[1]),
          gas[2] + dt * (oxygen - rates[0] - 0.2 * gas[2])};
}

// The largest error of the surrogate's derivatives at one state, as a share of the largest of the
// law's own, by differences.
Result<double> JacobianError(Jacobian& jacobian, const Gas& gas) {
  FloatBuffer x({1, kState});
  std::array<float, kRates * kState> j;
  LOCKSTEP_TRY_ASSIGN(const ConstTensor at, x.Take(gas, "gas"));
  LOCKSTEP_TRY(jacobian.Full(at, {j.data(), {1, kRates, kState}}));
  double off = 0.0, largest = 0.0;
  for (size_t i = 0; i < kState; ++i) {
    Gas above = gas, below = gas;
    above[i] += 1e-4, below[i] -= 1e-4;
    for (size_t k = 0; k < kRates; ++k) {
      const double slope = (RatesOf(above)[k] - RatesOf(below)[k]) / 2e-4;
      off = std::max(off, std::abs(static_cast<double>(j[k * kState + i]) - slope));
      largest = std::max(largest, std::abs(slope));
    }
  }
  return off / largest;
}

Status Run() {
  constexpr int64_t kBatch = 64;
  Context ctx({.threads = 1});  // beside a solver on the same core
  Sequential layers(Linear(32), Silu(), Linear(32), Silu(), Linear(kRates));
  LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, std::move(layers), MseLoss(),
                                                 {.input = {kBatch, kState}, .seed = 1}));
  LOCKSTEP_TRY_ASSIGN(Jacobian jacobian, Jacobian::Make(net));
  LOCKSTEP_TRY_ASSIGN(
      RecentSamples recent,
      RecentSamples::Make(
          {.capacity = 4096, .batch = kBatch, .x = {kState}, .target = {kRates}, .seed = 2}));
  AdamW adam({.lr = 3e-3});

  std::vector<Gas> cells(kCells, Gas{1.0, 0.5, 0.5});
  std::vector<double> states, rates;  // of all cells, one after another
  FloatBuffer x({kCells, kState}), y({kCells, kRates});
  std::vector<float> predicted(kCells * kRates);
  Random random(/*seed=*/3, /*stream=*/0);
  double first_error = 0.0, last_error = 0.0;
  constexpr int kSteps = 3000, kWindow = 100;
  for (int step = 0; step < kSteps; ++step) {
    states.clear(), rates.clear();
    for (const Gas& gas : cells) {
      states.insert(states.end(), gas.begin(), gas.end());
      const Rates of = RatesOf(gas);
      rates.insert(rates.end(), of.begin(), of.end());
    }
    LOCKSTEP_TRY_ASSIGN(const ConstTensor in, x.Take(states, "states"));
    LOCKSTEP_TRY_ASSIGN(const ConstTensor out, y.Take(rates, "rates"));

    // How far off the surrogate is on states before it learns from them.
    LOCKSTEP_TRY(net.Predict(in, {predicted.data(), {kCells, kRates}}));
    double error = 0.0;
    for (size_t i = 0; i < rates.size(); ++i)
      error += std::abs(static_cast<double>(predicted[i]) - rates[i]);
    error /= static_cast<double>(rates.size()) * kWindow;
    if (step < kWindow) first_error += error;
    if (step >= kSteps - kWindow) last_error += error;

    LOCKSTEP_TRY(recent.Add(in, out));
    if (recent.size() >= kBatch) {  // one step of training for each of the solver's
      LOCKSTEP_TRY_ASSIGN(const SampleBatch batch,
                          recent.Draw(static_cast<uint64_t>(step), /*newest=*/kCells));
      LOCKSTEP_TRY(net.TrainStep(batch.x, batch.target, adam).status());
    }
    for (size_t c = 0; c < kCells; ++c) {  // inflows that wander, each cell's its own way
      const double phase = 0.02 * step + static_cast<double>(c);
      const double fuel = 0.5 + 0.3 * std::sin(phase) + 0.2 * random.Normal();
      const double oxygen = 0.5 + 0.3 * std::cos(1.7 * phase) + 0.2 * random.Normal();
      const Rates of = {rates[kRates * c], rates[kRates * c + 1]};
      cells[c] = Advance(cells[c], of, 0.05, fuel, oxygen);
    }
  }
  double off = 0.0;
  for (const Gas& gas : cells) {
    LOCKSTEP_TRY_ASSIGN(const double share, JacobianError(jacobian, gas));
    off += share / kCells;
  }
  std::printf("rates are off by %.4f at first and by %.4f at last, derivatives by %.1f %%\n",
              first_error, last_error, 100.0 * off);
  if (!(last_error < 0.1 * first_error))
    return Status::Invalid("the surrogate has not learned while the simulation ran");
  return off < 0.4 ? Status::Ok() : Status::Invalid("its derivatives are not those of the rates");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
