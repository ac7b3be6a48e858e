#include "engine/data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

// Counts what the whole program allocates; the tests look at differences. Not inlined: compilers
// take a delete that they see through for a mismatch with a new that they do not.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Sample i is (i, -i) with class i % 3.
std::shared_ptr<const Dataset> Numbers(int64_t size) {
  std::vector<float> x;
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < size; ++i) {
    x.push_back(static_cast<float>(i));
    x.push_back(static_cast<float>(-i));
    targets.push_back(static_cast<int32_t>(i % 3));
  }
  return InMemoryDataset::Make({.name = "numbers", .size = size, .x_shape = {2}, .classes = 3},
                               std::move(x), std::move(targets))
      .value();
}

std::unique_ptr<Loader> MakeLoader(int64_t size, const LoaderOptions& options) {
  auto loader = Loader::Make(Numbers(size), AllIndices(size), options);
  EXPECT_TRUE(loader.ok()) << loader.status().message();
  return std::move(loader).value();
}

// What one call gives: the place of the batch and its samples; no samples at the end of an epoch.
using Seen = std::tuple<int64_t, int64_t, std::vector<int64_t>>;

Seen See(Loader& loader) {
  const Batch* batch = loader.Next().value();
  if (batch == nullptr) return {-1, -1, {}};
  std::vector<int64_t> samples;
  EXPECT_EQ(batch->count, batch->x.shape().batch());
  EXPECT_EQ(batch->count, batch->target.shape().batch());
  EXPECT_EQ(batch->count, static_cast<int64_t>(batch->indices.size()));
  for (int64_t i = 0; i < batch->count; ++i) {
    const auto sample = static_cast<int64_t>(batch->x.f32()[2 * i]);
    EXPECT_EQ(batch->x.f32()[2 * i + 1], static_cast<float>(-sample));
    EXPECT_EQ(batch->target.as<int32_t>()[i], sample % 3);
    EXPECT_EQ(batch->indices[static_cast<size_t>(i)], sample);
    samples.push_back(sample);
  }
  return {batch->epoch, batch->number, samples};
}

struct Ahead {
  int prefetch, threads;
};
class LoaderTest : public testing::TestWithParam<Ahead> {};
INSTANTIATE_TEST_SUITE_P(Prefetch, LoaderTest,
                         testing::Values(Ahead{0, 1}, Ahead{1, 1}, Ahead{3, 1}, Ahead{1, 2},
                                         Ahead{3, 4}, Ahead{2, 9}),
                         [](const auto& info) {
                           return std::to_string(info.param.prefetch) + "By" +
                                  std::to_string(info.param.threads);
                         });

TEST_P(LoaderTest, AnEpochHoldsEverySampleOnce) {
  for (const int64_t size : {1, 9, 10, 11, 35}) {
    SCOPED_TRACE(size);
    const auto loader = MakeLoader(
        size,
        {.batch = 10, .seed = 1, .prefetch = GetParam().prefetch, .threads = GetParam().threads});
    EXPECT_EQ(loader->batches_per_epoch(), (size + 9) / 10);
    EXPECT_EQ(loader->samples_per_epoch(), size);
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::vector<int64_t> all;
      for (int64_t number = 0; number < loader->batches_per_epoch(); ++number) {
        const auto [e, n, samples] = See(*loader);
        EXPECT_EQ(e, epoch);
        EXPECT_EQ(n, number);
        EXPECT_LE(static_cast<int64_t>(samples.size()), loader->largest_count());
        all.insert(all.end(), samples.begin(), samples.end());
      }
      EXPECT_EQ(See(*loader), Seen(-1, -1, {}));
      std::sort(all.begin(), all.end());
      EXPECT_EQ(all, AllIndices(size));
    }
  }
}

TEST_P(LoaderTest, WithoutShufflingTheOrderIsTheListsOwn) {
  const std::vector<int64_t> indices = {7, 3, 3, 0, 9};
  const auto loader = Loader::Make(Numbers(10), indices,
                                   {.batch = 2,
                                    .shuffle = false,
                                    .prefetch = GetParam().prefetch,
                                    .threads = GetParam().threads})
                          .value();
  for (int epoch = 0; epoch < 2; ++epoch) {
    EXPECT_THAT(std::get<2>(See(*loader)), ElementsAre(7, 3));
    EXPECT_THAT(std::get<2>(See(*loader)), ElementsAre(3, 0));
    EXPECT_THAT(std::get<2>(See(*loader)), ElementsAre(9));
    EXPECT_EQ(loader->Next().value(), nullptr);
  }
}

TEST_P(LoaderTest, DroppingLeavesFullBatchesOnly) {
  const auto loader = MakeLoader(11, {.batch = 4,
                                      .last = LastBatch::kDrop,
                                      .prefetch = GetParam().prefetch,
                                      .threads = GetParam().threads});
  EXPECT_EQ(loader->batches_per_epoch(), 2);
  EXPECT_EQ(loader->samples_per_epoch(), 8);
  std::set<int64_t> left_out;
  for (int epoch = 0; epoch < 12; ++epoch) {
    std::set<int64_t> seen;
    for (int i = 0; i < 2; ++i) {
      const auto samples = std::get<2>(See(*loader));
      EXPECT_EQ(samples.size(), 4u);
      seen.insert(samples.begin(), samples.end());
    }
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_EQ(loader->Next().value(), nullptr);
    for (int64_t i = 0; i < 11; ++i) {
      if (!seen.contains(i)) left_out.insert(i);
    }
  }
  EXPECT_EQ(left_out.size(), 11u);  // not the same ones every time
}

// From every place of three epochs, a fresh loader goes on as the first one did.
TEST_P(LoaderTest, GoesOnFromAnyPlaceWithTheSameBatches) {
  const LoaderOptions options{
      .batch = 4, .seed = 5, .prefetch = GetParam().prefetch, .threads = GetParam().threads};
  const auto whole = MakeLoader(10, options);
  std::vector<LoaderPlace> places;
  std::vector<Seen> seen;
  for (int i = 0; i < 12; ++i) {  // 3 epochs of 3 batches and an end
    places.push_back(whole->place());
    seen.push_back(See(*whole));
  }
  EXPECT_EQ(whole->place(), (LoaderPlace{3, 0}));
  const auto moved = MakeLoader(10, options);
  for (size_t start = 0; start < places.size(); ++start) {
    SCOPED_TRACE(start);
    const auto fresh = MakeLoader(10, options);
    ASSERT_TRUE(fresh->Seek(places[start]).ok());
    ASSERT_TRUE(moved->Seek(places[start]).ok());  // also one that has been elsewhere
    for (size_t i = start; i < std::min(start + 3, places.size()); ++i) {
      EXPECT_EQ(fresh->place(), places[i]);
      EXPECT_EQ(See(*fresh), seen[i]);
      EXPECT_EQ(See(*moved), seen[i]);
    }
  }
}

TEST_P(LoaderTest, PrefetchChangesNothing) {
  const auto plain = MakeLoader(103, {.batch = 10, .seed = 2, .prefetch = 0});
  const auto other = MakeLoader(
      103,
      {.batch = 10, .seed = 2, .prefetch = GetParam().prefetch, .threads = GetParam().threads});
  for (int i = 0; i < 40; ++i) EXPECT_EQ(See(*other), See(*plain));
}

TEST_P(LoaderTest, RanksShareEveryGlobalBatchInOrder) {
  for (const int ranks : {1, 2, 3, 5, 8}) {
    SCOPED_TRACE(ranks);
    LoaderOptions options{
        .batch = 7, .seed = 3, .prefetch = GetParam().prefetch, .threads = GetParam().threads};
    const auto whole = MakeLoader(24, options);  // batches of 7, 7, 7, 3
    std::vector<std::unique_ptr<Loader>> parts;
    options.ranks = ranks;
    for (options.rank = 0; options.rank < ranks; ++options.rank) {
      parts.push_back(MakeLoader(24, options));
    }
    std::vector<int64_t> largest(static_cast<size_t>(ranks));
    for (int i = 0; i < 5; ++i) {
      const auto [epoch, number, samples] = See(*whole);
      std::vector<int64_t> joined;
      for (size_t r = 0; r < parts.size(); ++r) {
        const Batch* part = parts[r]->Next().value();
        if (part == nullptr) continue;
        EXPECT_EQ(part->first, static_cast<int64_t>(joined.size()));
        EXPECT_EQ(part->global_count, static_cast<int64_t>(samples.size()));
        EXPECT_EQ(part->epoch, epoch);
        joined.insert(joined.end(), part->indices.begin(), part->indices.end());
        largest[r] = std::max(largest[r], part->count);
      }
      EXPECT_EQ(joined, samples);
    }
    for (size_t r = 0; r < parts.size(); ++r) EXPECT_EQ(parts[r]->largest_count(), largest[r]) << r;
  }
}

TEST_P(LoaderTest, ABatchStaysUntilTheNextCall) {
  const auto loader = MakeLoader(1000, {.batch = 5,
                                        .shuffle = false,
                                        .prefetch = GetParam().prefetch,
                                        .threads = GetParam().threads});
  for (int i = 0; i < 40; ++i) {
    const Batch* batch = loader->Next().value();
    // Time for a thread that would run too far ahead.
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (int64_t k = 0; k < 5; ++k) {
      EXPECT_EQ(batch->x.f32()[2 * k], static_cast<float>(5 * i + k));
      EXPECT_EQ(batch->indices[static_cast<size_t>(k)], 5 * i + k);
    }
  }
}

TEST_P(LoaderTest, SteadyStateAllocatesNothing) {
  const auto loader = MakeLoader(
      200, {.batch = 10, .prefetch = GetParam().prefetch, .threads = GetParam().threads});
  for (int i = 0; i < 25; ++i) (void)loader->Next();  // over the end of an epoch
  const int64_t before = allocations.load();
  for (int i = 0; i < 50; ++i) (void)loader->Next();
  EXPECT_EQ(allocations.load(), before);
}

TEST_P(LoaderTest, EndsCleanlyWhereverItStands) {
  for (int calls = 0; calls < 12; ++calls) {
    const auto loader = MakeLoader(
        20, {.batch = 4, .prefetch = GetParam().prefetch, .threads = GetParam().threads});
    for (int i = 0; i < calls; ++i) (void)loader->Next();
  }
}

// Fails at sample 7 while `broken`: with a status, or by throwing.
class Broken final : public Dataset {
 public:
  explicit Broken(bool throws)
      : Dataset({.name = "broken", .size = 20, .x_shape = {1}, .classes = 1}), throws_(throws) {}
  void Repair() { broken_ = false; }

 private:
  Status Read(std::span<const int64_t> indices, Tensor, Tensor, int64_t) const override {
    if (!broken_ || std::find(indices.begin(), indices.end(), 7) == indices.end()) {
      return Status::Ok();
    }
    if (throws_) throw std::runtime_error("thrown at sample 7");
    return Status::Corrupt("broken: sample 7 cannot be decoded");
  }
  bool throws_;
  std::atomic<bool> broken_{true};
};

TEST_P(LoaderTest, AnErrorComesInItsPlaceAndCanBeRetried) {
  const auto dataset = std::make_shared<Broken>(/*throws=*/false);
  const auto loader = Loader::Make(dataset, AllIndices(20),
                                   {.batch = 4,
                                    .shuffle = false,
                                    .prefetch = GetParam().prefetch,
                                    .threads = GetParam().threads})
                          .value();
  ASSERT_TRUE(loader->Next().ok());
  for (int i = 0; i < 2; ++i) {
    const auto failed = loader->Next();
    ASSERT_FALSE(failed.ok());
    EXPECT_THAT(failed.status().message(), HasSubstr("sample 7 cannot be decoded"));
    EXPECT_EQ(loader->place(), (LoaderPlace{0, 1}));
  }
  dataset->Repair();
  EXPECT_EQ(loader->Next().value()->number, 1);
  EXPECT_EQ(loader->Next().value()->number, 2);
}

TEST_P(LoaderTest, WhatADatasetThrowsReachesTheCaller) {
  const auto loader = Loader::Make(std::make_shared<Broken>(/*throws=*/true), AllIndices(20),
                                   {.batch = 4,
                                    .shuffle = false,
                                    .prefetch = GetParam().prefetch,
                                    .threads = GetParam().threads})
                          .value();
  ASSERT_TRUE(loader->Next().ok());
  EXPECT_THROW((void)loader->Next(), std::runtime_error);
  ASSERT_TRUE(loader->Seek({0, 2}).ok());
  EXPECT_EQ(loader->Next().value()->number, 2);
}

// Several samples fail, whichever thread meets which first: the first in the batch's order is told.
class SomeBroken final : public Dataset {
 public:
  SomeBroken() : Dataset({.name = "some", .size = 64, .x_shape = {1}, .classes = 1}) {}

 private:
  Status Read(std::span<const int64_t> indices, Tensor, Tensor, int64_t) const override {
    for (const int64_t index : indices) {
      if (index == 23) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (index >= 23) return Status::Corrupt("sample " + std::to_string(index) + " is bad");
    }
    return Status::Ok();
  }
};

TEST_P(LoaderTest, OfSeveralErrorsInABatchTheFirstSampleIsTold) {
  const auto loader = Loader::Make(std::make_shared<SomeBroken>(), AllIndices(64),
                                   {.batch = 64,
                                    .shuffle = false,
                                    .prefetch = GetParam().prefetch,
                                    .threads = GetParam().threads})
                          .value();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(loader->Next().status().message(), "sample 23 is bad");
}

TEST(LoaderThreadsTest, TheTeamKeepsMostCores) {
  EXPECT_EQ(LoaderThreads(1), 1);
  EXPECT_EQ(LoaderThreads(2), 1);
  EXPECT_EQ(LoaderThreads(64), 8);
}

// Each of 5 samples comes first with probability 1/5; over 4000 epochs the count has standard
// deviation sqrt(4000 * 0.16) = 25.3. Five of them for 25 counts: once in 10^5 seeds.
TEST(LoaderShuffleTest, EverySampleIsAsLikelyInEveryPlace) {
  const auto loader = MakeLoader(5, {.batch = 5, .seed = 9, .prefetch = 0});
  std::vector<std::vector<int>> counts(5, std::vector<int>(5));
  for (int epoch = 0; epoch < 4000; ++epoch) {
    const auto samples = std::get<2>(See(*loader));
    for (size_t i = 0; i < 5; ++i) ++counts[i][static_cast<size_t>(samples[i])];
    (void)loader->Next();
  }
  for (const auto& place : counts) {
    for (const int count : place) EXPECT_NEAR(count, 800, 5 * 25.3);
  }
}

// Written down once: a change here changes every training run.
TEST(LoaderShuffleTest, TheOrderOfASeedStaysTheSame) {
  const auto loader = MakeLoader(8, {.batch = 8, .seed = 1, .prefetch = 0});
  EXPECT_THAT(std::get<2>(See(*loader)), ElementsAre(5, 4, 6, 0, 3, 2, 1, 7));
  EXPECT_EQ(loader->Next().value(), nullptr);
  EXPECT_THAT(std::get<2>(See(*loader)), ElementsAre(7, 4, 2, 3, 1, 6, 0, 5));
}

// Samples that are said to be ahead, of which memory holds but a few stretches.
class Announced final : public Dataset {
 public:
  static constexpr int64_t kStretch = int64_t{1} << 20;

  explicit Announced(int64_t size)
      : Dataset({.name = "announced", .size = size, .x_shape = {1}, .classes = 1}),
        ahead_(static_cast<size_t>(size)) {}
  void Forget() const {
    std::fill(ahead_.begin(), ahead_.end(), false);
    count_ = 0;
  }

 private:
  Status Read(std::span<const int64_t> indices, Tensor, Tensor, int64_t) const override {
    for (const int64_t i : indices) {
      if (!ahead_[static_cast<size_t>(i)]) return Status::Corrupt("was not announced");
      ahead_[static_cast<size_t>(i)] = false;
    }
    count_ -= std::ssize(indices);
    return Status::Ok();
  }
  void Fetch(std::span<const int64_t> indices) const override {
    for (const int64_t i : indices) ahead_[static_cast<size_t>(i)] = true;
    count_ += std::ssize(indices);
    EXPECT_LE(count_, 2 * kStretch);
  }
  mutable std::vector<bool> ahead_;
  mutable int64_t count_ = 0;
};

// As many blocks of 1024 neighbours as a stretch has of 1024 samples, all of them announced.
TEST(LoaderShuffleTest, VeryManySamplesAreReadInStretches) {
  constexpr int64_t kSize = (int64_t{1} << 22) + 5;
  const auto dataset = std::make_shared<const Announced>(kSize);
  for (const int64_t batch_size : {Announced::kStretch, int64_t{3000}}) {
    const auto loader = Loader::Make(dataset, AllIndices(kSize), {.batch = batch_size}).value();
    std::vector<bool> met(kSize);
    std::vector<int64_t> first;
    std::set<int64_t> places;
    while (const Batch* batch = loader->Next().value()) {
      if (batch->number * batch_size % Announced::kStretch == 0) places.clear();
      for (const int64_t sample : batch->indices) {
        ASSERT_FALSE(met[static_cast<size_t>(sample)]);
        met[static_cast<size_t>(sample)] = true;
        if (batch_size == Announced::kStretch) places.insert(sample / 1024);
      }
      EXPECT_LE(std::ssize(places), 1025);  // the last block is smaller: others are cut in two
      EXPECT_TRUE(batch->count < 6 ||
                  !std::is_sorted(batch->indices.begin(), batch->indices.end()));
      if (first.empty()) first.assign(batch->indices.begin(), batch->indices.end());
    }
    EXPECT_EQ(std::count(met.begin(), met.end(), false), 0);
    const auto again = loader->Next().value()->indices;
    EXPECT_FALSE(std::equal(again.begin(), again.end(), first.begin()));
    // Back within an epoch all that comes is announced again.
    ASSERT_TRUE(loader->Seek({.epoch = 1}).ok());
    dataset->Forget();
    while (loader->Next().value() != nullptr) continue;
  }
}

TEST(LoaderSettingsTest, ImpossibleOnesSayWhy) {
  const auto error = [](std::vector<int64_t> indices, const LoaderOptions& options) {
    const auto loader = Loader::Make(Numbers(5), std::move(indices), options);
    return loader.ok() ? std::string("(no error)") : loader.status().message();
  };
  const auto all = AllIndices(5);
  EXPECT_THAT(error({}, {}), HasSubstr("no samples"));
  EXPECT_THAT(error({0, 5}, {}), HasSubstr("sample 5 is not in 0 to 4"));
  EXPECT_THAT(error({-1}, {}), HasSubstr("sample -1"));
  EXPECT_THAT(error(all, {.batch = 0}), HasSubstr("at least 1, not 0"));
  EXPECT_THAT(error(all, {.batch = 6, .last = LastBatch::kDrop}), HasSubstr("no full batch of 6"));
  EXPECT_THAT(error(all, {.rank = 2, .ranks = 2}), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(error(all, {.ranks = 0}), HasSubstr("of 0"));
  EXPECT_THAT(error(all, {.prefetch = 1000}),
              HasSubstr("prefetch must be 0 to 64 batches, not 1000"));
  EXPECT_THAT(error(all, {.threads = 0}), HasSubstr("1 to 256 threads, not 0"));
  EXPECT_THAT(error(all, {.threads = 1000}), HasSubstr("not 1000"));
  EXPECT_EQ(error(all, {.batch = INT64_MAX}), "(no error)");  // one batch of all

  const auto loader = MakeLoader(5, {.batch = 2});
  EXPECT_THAT(loader->Seek({0, 4}).message(), HasSubstr("batch 4 of epoch 0 does not exist"));
  EXPECT_FALSE(loader->Seek({-1, 0}).ok());
  EXPECT_TRUE(loader->Seek({7, 3}).ok());
}

}  // namespace
}  // namespace lockstep
