//! The texts, made once: a row takes one by its index, so a column is a gather of views and no text is written per row.

use std::sync::LazyLock;

use arrow_array::StringViewArray;

use super::random::{below, draw};

const FIRST: [&str; 11] = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

const LETTERS: &[u8; 29] = b"abcdefghijklmnopqrstuvwxyz   ";

/// Channels that are not hot.
pub(super) const CHANNELS: u64 = 10_000;
/// Texts of each kind of filler.
pub(super) const TEXTS: u64 = 4096;

/// Letters and spaces for text number `index` of a kind, of a length within `least..=most`.
fn filler(kind: u64, index: u64, least: u64, most: u64) -> String {
    let seed = (kind << 32) | index;
    let letters = least + below(draw(seed, 100), most - least + 1);
    (0..letters).map(|i| LETTERS.get(below(draw(seed, 101 + i), 29) as usize).map_or(' ', |c| char::from(*c))).collect()
}

fn table(rows: u64, text: impl Fn(u64) -> String) -> StringViewArray {
    StringViewArray::from_iter_values((0..rows).map(text))
}

pub(super) static NAMES: LazyLock<StringViewArray> = LazyLock::new(|| {
    let names = FIRST.iter().flat_map(|f| LAST.iter().map(move |l| format!("{f} {l}")));
    StringViewArray::from_iter_values(names)
});
pub(super) static EMAILS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let part = |kind, i, n: u64| filler(kind, i, n, n).replace(' ', "x");
    table(TEXTS, |i| format!("{}@{}.com", part(1, i, 7), part(2, i, 5)))
});
pub(super) static CARDS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let group = |i, g: u64| below(draw(i, 90 + g), 10_000);
    table(TEXTS, |i| format!("{:04} {:04} {:04} {:04}", group(i, 0), group(i, 1), group(i, 2), group(i, 3)))
});
pub(super) static CITY: LazyLock<StringViewArray> = LazyLock::new(|| StringViewArray::from_iter_values(CITIES));
pub(super) static STATE: LazyLock<StringViewArray> = LazyLock::new(|| StringViewArray::from_iter_values(STATES));
pub(super) static ITEMS: LazyLock<StringViewArray> = LazyLock::new(|| table(TEXTS, |i| filler(3, i, 10, 30)));
pub(super) static DESCRIPTIONS: LazyLock<StringViewArray> = LazyLock::new(|| table(TEXTS, |i| filler(4, i, 50, 150)));
/// Hot channels first, then the others.
pub(super) static CHANNEL: LazyLock<StringViewArray> = LazyLock::new(|| {
    let hot = HOT_CHANNELS.iter().map(|c| (*c).to_owned());
    StringViewArray::from_iter_values(hot.chain((0..CHANNELS).map(|c| format!("channel-{c}"))))
});
/// One for each channel.
pub(super) static URL: LazyLock<StringViewArray> = LazyLock::new(|| {
    let part = |i, n: u64| filler(5 + n, i, 5, 5).replace(' ', "_");
    let base = |i| format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", part(i, 0), part(i, 1), part(i, 2));
    table(4 + CHANNELS, |i| if i < 4 { base(i) } else { format!("{}&channel_id={}", base(i), below(draw(i, 99), 1 << 30)) })
});
/// Of persons (about 100 bytes), auctions (about 200) and bids (about 60), which fill a row up to the size that it has elsewhere.
pub(super) static PERSON_EXTRA: LazyLock<StringViewArray> = LazyLock::new(|| table(TEXTS, |i| filler(8, i, 80, 120)));
pub(super) static AUCTION_EXTRA: LazyLock<StringViewArray> = LazyLock::new(|| table(TEXTS, |i| filler(9, i, 160, 240)));
pub(super) static BID_EXTRA: LazyLock<StringViewArray> = LazyLock::new(|| table(TEXTS, |i| filler(10, i, 54, 82)));
