// A transformer from one text to another, which learns to write short strings backwards: two inputs
// of tokens, and a text that is written one token after the other.
#include <lockstep/lockstep.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>
using namespace lockstep;

namespace {

constexpr int64_t kBatch = 64, kLength = 5;
constexpr int32_t kLetters = 6, kBegin = 6, kEnd = 7;  // tokens: a to f, and two of their own
const Shape kSource{kBatch, kLength}, kWritten{kBatch, kLength + 1};

struct Strings {
  std::vector<int32_t> source, written, target;
};

// Strings of 2 to kLength letters. What is written begins with kBegin; its target is one ahead.
Strings MakeStrings(uint64_t seed) {
  Random random(seed, /*stream=*/0);
  Strings all;
  for (int64_t b = 0; b < kBatch; ++b) {
    std::vector<int32_t> text(static_cast<size_t>(2 + random.Uniform() * (kLength - 1)));
    for (int32_t& letter : text) letter = static_cast<int32_t>(random.Uniform() * kLetters);
    std::vector<int32_t> source = text, written = {kBegin};
    written.insert(written.end(), text.rbegin(), text.rend());
    std::vector<int32_t> target(text.rbegin(), text.rend());
    target.push_back(kEnd);
    source.resize(kLength, kPaddingToken);
    written.resize(kLength + 1, kPaddingToken);
    target.resize(kLength + 1, kIgnoredTarget);
    all.source.insert(all.source.end(), source.begin(), source.end());
    all.written.insert(all.written.end(), written.begin(), written.end());
    all.target.insert(all.target.end(), target.begin(), target.end());
  }
  return all;
}

std::string Letters(const int32_t* tokens, int64_t count) {
  std::string text;
  for (int64_t t = 0; t < count && tokens[t] >= 0 && tokens[t] < kLetters; ++t)
    text += static_cast<char>('a' + tokens[t]);
  return text;
}

// The likeliest token at each place in turn.
Status Write(Network& net, const Strings& strings, std::vector<int32_t>& written) {
  std::vector<float> y(written.size() * (kLetters + 2));
  const Tensor scores(y.data(), {kBatch, kLength + 1, kLetters + 2});
  for (int64_t t = 0; t < kLength; ++t) {
    const std::vector<ConstTensor> inputs = {{strings.source.data(), kSource},
                                             {written.data(), kWritten}};
    LOCKSTEP_TRY(net.Predict(inputs, {&scores, 1}));
    for (int64_t b = 0; b < kBatch; ++b) {
      const int64_t at = b * (kLength + 1) + t;
      const float* row = y.data() + at * (kLetters + 2);
      const auto next = static_cast<int32_t>(std::max_element(row, row + kLetters + 2) - row);
      const bool over = written[static_cast<size_t>(at)] == kPaddingToken || next == kEnd;
      written[static_cast<size_t>(at) + 1] = over ? kPaddingToken : next;
    }
  }
  return Status::Ok();
}

Status Run() {
  Context ctx;
  const Seq2Seq model({.source_vocabulary = kLetters,
                       .target_vocabulary = kLetters + 2,
                       .source_length = kLength,
                       .target_length = kLength + 1,
                       .block = {.width = 32, .heads = 2, .feed_forward = 64},
                       .encoder_layers = 1,
                       .decoder_layers = 1});
  LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, model, kBatch, {.seed = 1}));
  AdamW optimizer({.lr = 3e-3});
  double loss = 0.0;
  for (uint64_t step = 0; step < 500; ++step) {
    const Strings strings = MakeStrings(step);
    const std::vector<ConstTensor> inputs = {{strings.source.data(), kSource},
                                             {strings.written.data(), kWritten},
                                             {strings.target.data(), kWritten}};
    LOCKSTEP_TRY_ASSIGN(loss, net.TrainStep(inputs, optimizer));
  }
  const Strings strings = MakeStrings(/*seed=*/1000000);
  std::vector<int32_t> written(strings.written.size(), kPaddingToken);
  for (size_t b = 0; b < kBatch; ++b) written[b * (kLength + 1)] = kBegin;
  LOCKSTEP_TRY(Write(net, strings, written));
  int64_t right = 0;
  for (int64_t b = 0; b < kBatch; ++b) {
    const std::string source = Letters(strings.source.data() + b * kLength, kLength);
    const std::string y = Letters(written.data() + b * (kLength + 1) + 1, kLength);
    right += y == std::string(source.rbegin(), source.rend());
    if (b < 3) std::printf("%s -> %s\n", source.c_str(), y.c_str());
  }
  std::printf("loss %.4f, %d of %d strings written backwards\n", loss, static_cast<int>(right),
              static_cast<int>(kBatch));
  if (right < kBatch * 9 / 10) return Status::Invalid("too many are wrong");
  return Status::Ok();
}

}  // namespace

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
