// A language model of GPT-2's shape (124 million parameters) going on with a text:
// op/generate_gpt2/threads:N    one token at a time, behind 16. tokens/s; GB/s of weights, each of
//                               which is read once for a token; of_stream, that as a share of
//                               op/stream_peak of as many threads, measured in the same run
// op/prompt_gpt2_C/threads:N    a prompt of 256 tokens, C at a time. tokens/s; gflops of products
// Scores of a prompt must have the bits of the same tokens one by one.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "engine/train/generator.h"
#include "models/gpt.h"
#include "tools/scale/peaks.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kPrompt = 16, kLongPrompt = 256;

// Weights as they begin, but of the network that both benchmarks of one number of threads use.
Result<Network> Gpt2(Context& ctx) {
  return Network::Bind(ctx, Gpt(), {.input = {1, 1}, .input_dtype = DType::kI32, .seed = 1});
}

// Of the embedding of places only a row is read.
int64_t BytesPerToken(const Network& net) {
  int64_t bytes = 0;
  for (const ParameterInfo& info : net.store().infos()) {
    if (info.name != "wpe.weight") bytes += info.shape.size() * 4;
  }
  return bytes;
}

std::vector<int32_t> Prompt(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(i * 7919 % 50257));
  return tokens;
}

std::string Check(Network& net) {
  const std::vector<int32_t> prompt = Prompt(kPrompt);
  std::vector<std::vector<float>> scores;
  for (const int64_t chunk : {int64_t{1}, kPrompt}) {
    Result<Generator> generator = Generator::Make(net, {.context = kPrompt, .chunk = chunk});
    if (!generator.ok()) return generator.status().message();
    if (const Status status = generator->Start(prompt); !status.ok()) return status.message();
    scores.emplace_back(generator->scores().begin(), generator->scores().end());
  }
  const bool same =
      std::memcmp(scores[0].data(), scores[1].data(), scores[0].size() * sizeof(float)) == 0;
  return same ? "" : "tokens one by one have other scores than together";
}

void Generate(benchmark::State& state, int threads) {
  Context ctx({.threads = threads});
  Result<Network> net = Gpt2(ctx);
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());
  if (const std::string wrong = Check(*net); !wrong.empty())
    return state.SkipWithError(wrong.c_str());
  Result<Generator> generator =
      Generator::Make(*net, {.sampling = {.temperature = 0.8, .top_k = 40}, .context = 1024});
  if (!generator.ok()) return state.SkipWithError(generator.status().message().c_str());
  const std::vector<int32_t> prompt = Prompt(kPrompt);
  // The first token of a text was computed with its prompt: it is not timed.
  const auto begin = [&] {
    const Status started = generator->Start(prompt);
    return started.ok() ? generator->Next().status() : started;
  };
  Status status = begin();
  // The limit is measured between the tokens: what else the machine does slows both down.
  scale::StreamPeak stream(ctx);
  const scale::StreamPeak::Way way = stream.FindBest().way;
  double peak = 0.0, best = 0.0;
  for (auto _ : state) {
    const double rate = static_cast<double>(BytesPerToken(*net));
    scale::RateOf(
        [&] {
          status = generator->Next().status();
          return static_cast<int64_t>(rate);
        },
        best);
    state.PauseTiming();
    for (int sample = 0; sample < 4; ++sample) scale::RateOf([&] { return stream.Run(way); }, peak);
    if (generator->tokens() == 512) status = begin();
    state.ResumeTiming();
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
  state.SetLabel(scale::StreamPeak::Name(way));
  state.counters["tokens/s"] = benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
  state.SetBytesProcessed(state.iterations() * BytesPerToken(*net));
  state.counters["best_GB/s"] = best * 1e-9;
  state.counters["stream_GB/s"] = peak * 1e-9;
  state.counters["best_of_stream"] = best / peak;
  state.counters["MB"] = static_cast<double>(net->bytes() + generator->bytes()) * 1e-6;
}

void LongPrompt(benchmark::State& state, int64_t chunk, int threads) {
  Context ctx({.threads = threads});
  Result<Network> net = Gpt2(ctx);
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());
  Result<Generator> generator = Generator::Make(*net, {.context = 1024, .chunk = chunk});
  if (!generator.ok()) return state.SkipWithError(generator.status().message().c_str());
  const std::vector<int32_t> prompt = Prompt(kLongPrompt);
  for (auto _ : state) {
    const Status status = generator->Start(prompt);
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
  state.counters["tokens/s"] =
      benchmark::Counter(kLongPrompt, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["gflops"] =
      benchmark::Counter(static_cast<double>(kLongPrompt * BytesPerToken(*net) / 2) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

const bool kRegistered = [] {
  for (const int threads : {1, 2}) {
    const std::string suffix = "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(("op/generate_gpt2" + suffix).c_str(), Generate, threads)
        ->UseRealTime();
    for (const int64_t chunk : {16, 32, 64, 128}) {
      benchmark::RegisterBenchmark(("op/prompt_gpt2_" + std::to_string(chunk) + suffix).c_str(),
                                   LongPrompt, chunk, threads)
          ->UseRealTime();
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
