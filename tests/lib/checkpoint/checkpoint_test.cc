// Checkpoint directories: reading tensors, digests, shards, and damaged ones.
#include "lib/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>

#include "lib/checkpoint/tensor_names.h"
#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/checkpoint/tiny_checkpoint.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;
using testing::TemporaryFolder;
using testing::TensorBytes;
using testing::tiny_config;
using testing::tiny_tensors;
using testing::write_file;
using testing::write_sharded_checkpoint;
using testing::write_tiny_checkpoint;

constexpr int64_t kHidden = 8;
constexpr const char* kNorm = "model.norm.weight";

std::vector<float> read_norm(const Checkpoint& checkpoint) {
  std::vector<float> values(kHidden);
  checkpoint.read(kNorm, std::vector<int64_t>{kHidden}, values);
  return values;
}

// The tiny checkpoint with kNorm replaced by 16-bit values.
void write_with_norm(const fs::path& folder, const std::string& type,
                     const std::vector<uint16_t>& bits) {
  std::vector<TensorBytes> tensors = tiny_tensors();
  tensors.back() = {kNorm,
                    type,
                    {kHidden},
                    std::string(reinterpret_cast<const char*>(bits.data()),
                                bits.size() * sizeof(uint16_t))};
  write_tiny_checkpoint(folder);
  write_file(folder / "model.safetensors", testing::safetensors_of(tensors));
}

TEST(Checkpoint, ReadsFloat32) {
  const TemporaryFolder folder;
  write_tiny_checkpoint(folder.path());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.config().hidden_size, kHidden);
  EXPECT_THAT(read_norm(checkpoint), ElementsAre(0.125f, 0.25f, 0.375f, 0.5f,
                                                 0.625f, 0.75f, 0.875f, 1.0f));
  EXPECT_EQ(checkpoint.tensors().size(), 12u);
  const TensorInfo info = checkpoint.info("model.layers.0.mlp.up_proj.weight");
  EXPECT_THAT(info.shape, ElementsAre(6, 8));
  EXPECT_EQ(info.file, "model.safetensors");
  EXPECT_TRUE(checkpoint.has(kNorm));
  EXPECT_FALSE(checkpoint.has("model.norm.bias"));
}

TEST(Checkpoint, WidensBfloat16Exactly) {
  const TemporaryFolder folder;
  // 1, -2, largest finite, smallest normal, smallest subnormal, zeros, pi.
  write_with_norm(
      folder.path(), "BF16",
      {0x3F80, 0xC000, 0x7F7F, 0x0080, 0x0001, 0x0000, 0x8000, 0x4049});
  const std::vector<float> values = read_norm(Checkpoint::open(folder.path()));
  EXPECT_THAT(values, ElementsAre(1.0f, -2.0f, 0x1.FEp127f, 0x1p-126f,
                                  0x1p-133f, 0.0f, -0.0f, 3.140625f));
  EXPECT_TRUE(std::signbit(values[6]));
}

TEST(Checkpoint, WidensFloat16Exactly) {
  const TemporaryFolder folder;
  // 1, -2, largest finite, smallest normal, smallest and largest subnormal.
  write_with_norm(
      folder.path(), "F16",
      {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x03FF, 0x8000, 0x4248});
  EXPECT_THAT(read_norm(Checkpoint::open(folder.path())),
              ElementsAre(1.0f, -2.0f, 65504.0f, 0x1p-14f, 0x1p-24f,
                          1023 * 0x1p-24f, -0.0f, 3.140625f));
}

TEST(Checkpoint, ShardsReadAndDigestAsOneFile) {
  const TemporaryFolder one;
  const TemporaryFolder two;
  write_tiny_checkpoint(one.path());
  write_sharded_checkpoint(two.path());
  const Checkpoint whole = Checkpoint::open(one.path());
  const Checkpoint sharded = Checkpoint::open(two.path());
  EXPECT_EQ(sharded.info(kNorm).file, "model-00002-of-00002.safetensors");
  EXPECT_EQ(read_norm(whole), read_norm(sharded));
  EXPECT_EQ(whole.digest(), sharded.digest());
  EXPECT_EQ(whole.digest().size(), 64u);
  EXPECT_EQ(whole.digest(), whole.digest());
}

TEST(Checkpoint, DigestSeesEveryWeightAndTheConfig) {
  const TemporaryFolder folder;
  write_tiny_checkpoint(folder.path());
  const std::string before = Checkpoint::open(folder.path()).digest();
  std::vector<TensorBytes> tensors = tiny_tensors();
  tensors[4].bytes[9] = static_cast<char>(tensors[4].bytes[9] ^ 1);
  write_file(folder / "model.safetensors", testing::safetensors_of(tensors));
  const std::string changed = Checkpoint::open(folder.path()).digest();
  EXPECT_NE(before, changed);
  nlohmann::json config = tiny_config();
  config["rms_norm_eps"] = 2e-5;
  write_file(folder / "config.json", config.dump(1));
  EXPECT_NE(changed, Checkpoint::open(folder.path()).digest());
}

TEST(Checkpoint, LinkedFilesAreFollowed) {
  const TemporaryFolder blobs;
  const TemporaryFolder folder;
  write_sharded_checkpoint(blobs.path());
  for (const auto& entry : fs::directory_iterator(blobs.path())) {
    fs::create_symlink(entry.path(), folder.path() / entry.path().filename());
  }
  EXPECT_EQ(read_norm(Checkpoint::open(folder.path()))[0], 0.125f);
}

TEST(Checkpoint, FileWrittenToInPlaceIsNoticed) {
  const TemporaryFolder folder;
  write_tiny_checkpoint(folder.path());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  fs::resize_file(folder / "model.safetensors", 100);
  EXPECT_THAT(message_of<InputError>([&] { read_norm(checkpoint); }),
              HasSubstr("the end of the file"));
  write_file(folder / "model.safetensors",
             testing::safetensors_of(tiny_tensors()));
  fs::last_write_time(folder / "model.safetensors",
                      fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_THAT(message_of<InputError>([&] { read_norm(checkpoint); }),
              HasSubstr("expected the file as it was opened"));
}

TEST(Checkpoint, FileReplacedByRenameKeepsTheOldWeights) {
  const TemporaryFolder folder;
  write_tiny_checkpoint(folder.path());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  write_file(folder / "new", "something else");
  fs::rename(folder / "new", folder / "model.safetensors");
  EXPECT_EQ(read_norm(checkpoint)[7], 1.0f);
}

TEST(Checkpoint, NamesOfABlock) {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 32;
  config.qkv_bias = true;
  config.qk_norm = true;
  const std::vector<TensorSpec> tensors = block_tensors(config, 3);
  EXPECT_EQ(tensors.size(), 14u);
  EXPECT_EQ(tensors[1].name, "model.layers.3.self_attn.q_proj.weight");
  EXPECT_THAT(tensors[1].shape, ElementsAre(128, 64));
  EXPECT_EQ(tensors[2].name, "model.layers.3.self_attn.q_proj.bias");
  EXPECT_THAT(tensors[2].shape, ElementsAre(128));
}

struct Damage {
  std::string name;
  std::function<void(const fs::path&)> apply;
  std::string place;  // in the folder
  std::string expected;
  std::string found;
  bool sharded = false;
};

std::ostream& operator<<(std::ostream& out, const Damage& c) {
  return out << c.name;
}

class CheckpointRefused : public ::testing::TestWithParam<Damage> {};

void read_everything(const fs::path& folder) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    int64_t count = 1;
    for (const int64_t dimension : tensor.shape) count *= dimension;
    std::vector<float> values(static_cast<size_t>(count));
    checkpoint.read(tensor.name, tensor.shape, values);
  }
}

TEST_P(CheckpointRefused, NamesPlaceExpectedAndFound) {
  const TemporaryFolder folder;
  if (GetParam().sharded) {
    write_sharded_checkpoint(folder.path());
  } else {
    write_tiny_checkpoint(folder.path());
  }
  ASSERT_NO_THROW(read_everything(folder.path()));
  GetParam().apply(folder.path());
  const auto start = std::chrono::steady_clock::now();
  const std::string message =
      message_of<InputError>([&] { read_everything(folder.path()); });
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  EXPECT_THAT(message,
              StartsWith(folder.path().string() + GetParam().place + ": "));
  EXPECT_THAT(message, HasSubstr("expected " + GetParam().expected));
  EXPECT_THAT(message, HasSubstr("found " + GetParam().found));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(time.count(), 2.0);
}

// Rewrites model.safetensors with changed tensors.
Damage tensors(std::string name,
               const std::function<void(std::vector<TensorBytes>&)>& change,
               std::string place, std::string expected, std::string found) {
  return {std::move(name),
          [change](const fs::path& folder) {
            std::vector<TensorBytes> list = tiny_tensors();
            change(list);
            write_file(folder / "model.safetensors",
                       testing::safetensors_of(list));
          },
          std::move(place), std::move(expected), std::move(found)};
}

void put_float(TensorBytes& tensor, size_t index, float value) {
  std::memcpy(tensor.bytes.data() + index * sizeof(value), &value,
              sizeof(value));
}

INSTANTIATE_TEST_SUITE_P(
    Single, CheckpointRefused,
    ::testing::Values(
        Damage{"no_config",
               [](const fs::path& f) { fs::remove(f / "config.json"); },
               "/config.json", "a readable file",
               "\"No such file or directory\""},
        Damage{"config_empty",
               [](const fs::path& f) { write_file(f / "config.json", ""); },
               "/config.json:1:1", "'[', '{', or a literal", "end of input"},
        Damage{"config_array",
               [](const fs::path& f) { write_file(f / "config.json", "[]"); },
               "/config.json#", "object", "array of 0"},
        Damage{"config_duplicate_key",
               [](const fs::path& f) {
                 write_file(f / "config.json",
                            "{\"hidden_size\": 8, \"hidden_size\": 16}");
               },
               "/config.json#", "each key once", "\"hidden_size\" twice"},
        Damage{"config_invalid_utf8",
               [](const fs::path& f) {
                 write_file(f / "config.json",
                            "{\n\"model_type\": \"\xC0\xAF\"}");
               },
               "/config.json:2:16", "UTF-8", "\\xC0"},
        Damage{"config_byte_order_mark",
               [](const fs::path& f) {
                 write_file(f / "config.json", "\xEF\xBB\xBF{}");
               },
               "/config.json:1:1", "JSON", "a byte order mark"},
        Damage{"config_too_large",
               [](const fs::path& f) {
                 write_file(f / "config.json", std::string(1100000, ' '));
               },
               "/config.json", "at most 1048576 bytes", "1100000"},
        Damage{"config_deep",
               [](const fs::path& f) {
                 write_file(f / "config.json",
                            "{\"a\":" + std::string(500000, '['));
               },
               "/config.json#/a/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0",
               "at most 16 nested", "more"},
        Damage{"config_directory",
               [](const fs::path& f) {
                 fs::remove(f / "config.json");
                 fs::create_directory(f / "config.json");
               },
               "/config.json", "a regular file", "a directory"},
        Damage{"no_weights",
               [](const fs::path& f) { fs::remove(f / "model.safetensors"); },
               "", "model.safetensors or model.safetensors.index.json",
               "neither"},
        Damage{"weights_truncated",
               [](const fs::path& f) {
                 fs::resize_file(f / "model.safetensors",
                                 fs::file_size(f / "model.safetensors") - 1);
               },
               "/model.safetensors#/model.norm.weight/data_offsets/1",
               "an offset of at most", "1"},
        Damage{"weights_fifo",
               [](const fs::path& f) {
                 fs::remove(f / "model.safetensors");
                 ASSERT_EQ(::mkfifo((f / "model.safetensors").c_str(), 0600),
                           0);
               },
               "/model.safetensors", "a regular file", "a FIFO"},
        tensors(
            "missing_tensor", [](auto& list) { list.erase(list.begin()); }, "",
            "tensor lm_head.weight of shape [5, 8]", "none"),
        tensors(
            "extra_tensor",
            [](auto& list) {
              list.push_back({"model.layers.0.self_attn.q_proj.bias",
                              "F32",
                              {8},
                              std::string(32, '\0')});
            },
            "/model.safetensors#/model.layers.0.self_attn.q_proj.bias",
            "only tensors of a llama of 1 layers", "another"),
        tensors(
            "quantized_weights",
            [](auto& list) {
              list[9] = {list[9].name, "I8", {8, 8}, std::string(64, '\1')};
            },
            "/model.safetensors#/model.layers.0.self_attn.q_proj.weight",
            "type F32, F16 or BF16", "I8"),
        tensors(
            "shape_mismatch",
            [](auto& list) {
              list[3].shape = {6, 8};
            },
            "/model.safetensors#/model.layers.0.mlp.down_proj.weight",
            "shape [8, 6]", "[6, 8]"),
        tensors(
            "nan", [](auto& list) { put_float(list[4], 19, NAN); },
            "/model.safetensors#/model.layers.0.mlp.gate_proj.weight",
            "a finite value at [2, 3]", "nan"),
        tensors(
            "infinity", [](auto& list) { put_float(list[11], 7, -INFINITY); },
            "/model.safetensors#/model.norm.weight", "a finite value at [7]",
            "-inf"),
        Damage{"nan_bfloat16",
               [](const fs::path& f) {
                 write_with_norm(f, "BF16", {1, 2, 3, 0xFFC1, 5, 6, 7, 8});
               },
               "/model.safetensors#/model.norm.weight", "a finite value at [3]",
               "-nan"},
        Damage{"infinity_float16",
               [](const fs::path& f) {
                 write_with_norm(f, "F16", {1, 2, 3, 4, 5, 0x7C00, 7, 8});
               },
               "/model.safetensors#/model.norm.weight", "a finite value at [5]",
               "inf"}),
    [](const auto& each) { return each.param.name; });

// Changes model.safetensors.index.json.
Damage index(std::string name,
             const std::function<void(nlohmann::ordered_json&)>& change,
             std::string place, std::string expected, std::string found) {
  return {std::move(name),
          [change](const fs::path& folder) {
            const fs::path path = folder / "model.safetensors.index.json";
            nlohmann::ordered_json json =
                nlohmann::ordered_json::parse(std::ifstream(path));
            change(json);
            write_file(path, json.dump(1));
          },
          "/model.safetensors" + std::move(place),
          std::move(expected),
          std::move(found),
          true};
}

Damage shard_name(std::string name, const std::string& value,
                  std::string found) {
  return index(
      std::move(name),
      [value](auto& json) { json["weight_map"][kNorm] = value; },
      std::string(".index.json#/weight_map/") + kNorm,
      "a plain file name that ends in .safetensors", std::move(found));
}

INSTANTIATE_TEST_SUITE_P(
    Sharded, CheckpointRefused,
    ::testing::Values(
        shard_name("parent_folder", "../weights.safetensors",
                   "string \"../weights.safetensors\""),
        shard_name("absolute", "/etc/passwd", "string \"/etc/passwd\""),
        shard_name("subfolder", "a/b.safetensors", "string"),
        shard_name("parent_itself", "..", "string \"..\""),
        shard_name("backslash", "..\\w.safetensors", "string"),
        shard_name("other_extension", "weights.bin", "string \"weights.bin\""),
        shard_name("nul", std::string("a\0.safetensors", 14), "string"),
        shard_name("name_empty", "", "string \"\""),
        index(
            "shard_number", [](auto& j) { j["weight_map"][kNorm] = 2; },
            std::string(".index.json#/weight_map/") + kNorm, "string", "2"),
        index(
            "map_missing", [](auto& j) { j.erase("weight_map"); },
            ".index.json#", "key \"weight_map\"", "none"),
        index(
            "map_array",
            [](auto& j) {
              j["weight_map"] = {1, 2};
            },
            ".index.json#/weight_map", "object", "array of 2"),
        index(
            "map_empty",
            [](auto& j) { j["weight_map"] = nlohmann::json::object(); },
            ".index.json#/weight_map", "at least one tensor", "object"),
        Damage{"missing_shard",
               [](const fs::path& f) {
                 fs::remove(f / "model-00002-of-00002.safetensors");
               },
               "/model-00002-of-00002.safetensors", "a readable file",
               "\"No such file", true},
        Damage{"fifo_as_shard",
               [](const fs::path& f) {
                 const fs::path shard = f / "model-00001-of-00002.safetensors";
                 fs::remove(shard);
                 ASSERT_EQ(::mkfifo(shard.c_str(), 0600), 0);
               },
               "/model-00001-of-00002.safetensors", "a regular file", "a FIFO",
               true},
        Damage{"tensor_in_the_wrong_shard",
               [](const fs::path& f) {
                 const fs::path path = f / "model.safetensors.index.json";
                 auto json = nlohmann::json::parse(std::ifstream(path));
                 json["weight_map"][kNorm] = "model-00001-of-00002.safetensors";
                 write_file(path, json.dump());
               },
               "/model-00002-of-00002.safetensors#/model.norm.weight",
               "only tensors that model.safetensors.index.json places here",
               "one that it places model-00001-of-00002.safetensors", true},
        Damage{"tensor_in_no_shard",
               [](const fs::path& f) {
                 const fs::path path = f / "model.safetensors.index.json";
                 auto json = nlohmann::json::parse(std::ifstream(path));
                 json["weight_map"]["model.extra"] =
                     "model-00002-of-00002.safetensors";
                 write_file(path, json.dump());
               },
               "/model-00002-of-00002.safetensors#/model.extra",
               "the tensor that model.safetensors.index.json places here",
               "none", true},
        Damage{"index_truncated",
               [](const fs::path& f) {
                 fs::resize_file(f / "model.safetensors.index.json", 60);
               },
               "/model.safetensors.index.json:6:5", "string literal",
               "invalid string: missing closing quote", true}),
    [](const auto& each) { return each.param.name; });

TEST(Checkpoint, MissingFolderAndFileInItsPlace) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      message_of<InputError>([&] { Checkpoint::open(folder / "none"); }),
      HasSubstr("expected a checkpoint directory, found \"No such file or "
                "directory\""));
  write_file(folder / "file", "x");
  EXPECT_THAT(
      message_of<InputError>([&] { Checkpoint::open(folder / "file"); }),
      HasSubstr("expected a checkpoint directory, found \"a file\""));
}

TEST(Checkpoint, WrongShapeAskedForIsRefused) {
  const TemporaryFolder folder;
  write_tiny_checkpoint(folder.path());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  std::vector<float> values(kHidden);
  const std::vector<int64_t> shape = {4, 2};
  EXPECT_THAT(
      message_of<InputError>([&] { checkpoint.read(kNorm, shape, values); }),
      HasSubstr("expected shape [4, 2], found [8]"));
  EXPECT_THAT(message_of<InputError>([&] { checkpoint.info("nothing"); }),
              HasSubstr("expected tensor nothing, found none"));
}

TEST(Checkpoint, TiedHeadAndOldBuffersMayBePresent) {
  const TemporaryFolder folder;
  nlohmann::json config = tiny_config();
  config["tie_word_embeddings"] = true;
  std::vector<TensorBytes> tensors = tiny_tensors();
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq",
                     "F32",
                     {2},
                     std::string(8, '\0')});
  write_file(folder / "config.json", config.dump());
  write_file(folder / "model.safetensors", testing::safetensors_of(tensors));
  EXPECT_NO_THROW(Checkpoint::open(folder.path()));
}

}  // namespace
}  // namespace wush
