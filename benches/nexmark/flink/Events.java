import java.util.ArrayList;
import java.util.List;
import java.util.function.LongFunction;

import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/**
 * The events of `examples/src/nexmark`, number by number the same. Texts are made once and shared, as there, so that a row costs its
 * numbers only.
 */
final class Events {
    static final long ROUND = 50;
    private static final long HOT = 100;
    private static final long IN_FLIGHT = 100;
    private static final long ACTIVE = 1000;
    private static final long LEAD = 10;
    private static final long FIRST_ID = 1000;
    private static final long BASE = 1_436_918_400_000L;
    private static final long CHANNELS = 10_000;
    private static final int TEXTS = 4096;
    private static final long[] POWERS = {1, 10, 100, 1000, 10_000, 100_000};

    private static final String[] FIRST = {"Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"};
    private static final String[] LAST = {"Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"};
    private static final String[] CITIES = {
        "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"
    };
    private static final String[] STATES = {"AZ", "CA", "ID", "OR", "WA", "WY"};
    private static final String[] HOT_CHANNELS = {"Google", "Facebook", "Baidu", "Apple"};

    private static final StringData[] NAMES = names();
    private static final StringData[] EMAILS = table(TEXTS, i -> filler(1, i, 7, 7).replace(' ', 'x') + "@" + filler(2, i, 5, 5).replace(' ', 'x') + ".com");
    private static final StringData[] CARDS =
        table(TEXTS, i -> String.format("%04d %04d %04d %04d", group(i, 0), group(i, 1), group(i, 2), group(i, 3)));
    private static final StringData[] CITY = table(CITIES.length, i -> CITIES[(int) i]);
    private static final StringData[] STATE = table(STATES.length, i -> STATES[(int) i]);
    private static final StringData[] ITEMS = table(TEXTS, i -> filler(3, i, 10, 30));
    private static final StringData[] DESCRIPTIONS = table(TEXTS, i -> filler(4, i, 50, 150));
    private static final StringData[] CHANNEL = table(4 + CHANNELS, i -> i < 4 ? HOT_CHANNELS[(int) i] : "channel-" + (i - 4));
    private static final StringData[] URL = table(4 + CHANNELS, Events::url);
    private static final StringData[] PERSON_EXTRA = table(TEXTS, i -> filler(8, i, 80, 120));
    private static final StringData[] AUCTION_EXTRA = table(TEXTS, i -> filler(9, i, 160, 240));
    private static final StringData[] BID_EXTRA = table(TEXTS, i -> filler(10, i, 54, 82));

    private Events() {}

    static long draw(long id, long salt) {
        long x = (id + 1) * 0x9e3779b97f4a7c15L + salt * 0xd1b54a32d192ed03L;
        x = (x ^ (x >>> 30)) * 0xbf58476d1ce4e5b9L;
        x = (x ^ (x >>> 27)) * 0x94d049bb133111ebL;
        return x ^ (x >>> 31);
    }

    static long below(long bits, long n) {
        return ((bits >>> 32) * n) >>> 32;
    }

    private static StringData[] table(long rows, LongFunction<String> text) {
        StringData[] out = new StringData[(int) rows];
        for (int i = 0; i < rows; i++) {
            out[i] = binary(text.apply(i));
        }
        return out;
    }

    /** With its bytes, so that no row has to encode it. */
    private static StringData binary(String text) {
        return StringData.fromBytes(text.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    private static StringData[] names() {
        List<StringData> out = new ArrayList<>();
        for (String first : FIRST) {
            for (String last : LAST) {
                out.add(binary(first + " " + last));
            }
        }
        return out.toArray(new StringData[0]);
    }

    private static String filler(long kind, long index, long least, long most) {
        String letters = "abcdefghijklmnopqrstuvwxyz   ";
        long seed = kind << 32 | index;
        long length = least + below(draw(seed, 100), most - least + 1);
        StringBuilder out = new StringBuilder();
        for (long i = 0; i < length; i++) {
            out.append(letters.charAt((int) below(draw(seed, 101 + i), 29)));
        }
        return out.toString();
    }

    private static long group(long i, long g) {
        return below(draw(i, 90 + g), 10_000);
    }

    private static String url(long i) {
        StringBuilder out = new StringBuilder("https://www.nexmark.com");
        for (int n = 0; n < 3; n++) {
            out.append('/').append(filler(5 + n, i, 5, 5).replace(' ', '_'));
        }
        out.append("/item.htm?query=1");
        if (i >= 4) {
            out.append("&channel_id=").append(below(draw(i, 99), 1 << 30));
        }
        return out.toString();
    }

    static long share(String kind) {
        return kind.equals("person") ? 1 : kind.equals("auction") ? 3 : 46;
    }

    /** The event that is row `row` of a partition. */
    static long event(String kind, long partition, long partitions, long row) {
        long share = share(kind);
        long offset = share == 1 ? 0 : share == 3 ? 1 : 4;
        return (row / share * partitions + partition) * ROUND + offset + row % share;
    }

    private static long lastAuction(long id) {
        return Math.max(id / ROUND * 3 + Math.min(id % ROUND, 3) - 1, 0);
    }

    private static long somePerson(long bits, long last) {
        long active = Math.min(last + 1, ACTIVE);
        return last + 1 - active + below(bits, active + LEAD);
    }

    private static long price(long bits) {
        return (1_000_000 + below(bits, 9_000_000)) * POWERS[(int) ((bits & 0xffff) * 6 >>> 16)] / 10_000;
    }

    private static long instant(long id, long nanos) {
        return BASE + id * nanos / 1_000_000;
    }

    private static TimestampData time(long millis) {
        return TimestampData.fromEpochMillis(millis);
    }

    private static StringData text(StringData[] table, long id, long purpose) {
        return table[(int) below(draw(id, 16 + purpose), table.length)];
    }

    /** Event `id` of a kind, those of its columns that are wanted. */
    static GenericRowData row(String kind, long id, long nanos, int[] columns) {
        GenericRowData row = new GenericRowData(columns.length);
        for (int i = 0; i < columns.length; i++) {
            Object value;
            switch (kind) {
                case "bid": value = bid(id, nanos, columns[i]); break;
                case "auction": value = auction(id, nanos, columns[i]); break;
                default: value = person(id, nanos, columns[i]);
            }
            row.setField(i, value);
        }
        return row;
    }

    private static Object bid(long id, long nanos, int column) {
        switch (column) {
            case 0: {
                long bits = draw(id, 1), last = lastAuction(id), first = Math.max(last - IN_FLIGHT, 0);
                return FIRST_ID + ((bits & 1) == 0 ? last / HOT * HOT : first + below(bits, last - first + 1 + LEAD));
            }
            case 1: {
                long bits = draw(id, 2), last = id / ROUND;
                return FIRST_ID + ((bits & 3) != 0 ? last / HOT * HOT + 1 : somePerson(bits, last));
            }
            case 2: return price(draw(id, 3));
            case 3: return CHANNEL[channel(id)];
            case 4: return URL[channel(id)];
            case 5: return time(instant(id, nanos));
            default: return text(BID_EXTRA, id, 0);
        }
    }

    private static int channel(long id) {
        long bits = draw(id, 4);
        return (int) ((bits & 1) == 0 ? bits >>> 1 & 3 : 4 + below(bits, CHANNELS));
    }

    private static Object auction(long id, long nanos, int column) {
        switch (column) {
            case 0: return FIRST_ID + lastAuction(id);
            case 1: return text(ITEMS, id, 1);
            case 2: return text(DESCRIPTIONS, id, 2);
            case 3: return price(draw(id, 3));
            case 4: return price(draw(id, 3)) + price(draw(id, 8));
            case 5: return time(instant(id, nanos));
            case 6: {
                long opens = instant(id, nanos), average = instant(id + IN_FLIGHT * ROUND / 3, nanos) - opens;
                return time(opens + 1 + below(draw(id, 7), Math.max(average * 2, 1)));
            }
            case 7: {
                long bits = draw(id, 5), last = id / ROUND;
                return FIRST_ID + ((bits & 3) != 0 ? last / HOT * HOT : somePerson(bits, last));
            }
            case 8: return 10 + below(draw(id, 6), 5);
            default: return text(AUCTION_EXTRA, id, 0);
        }
    }

    private static Object person(long id, long nanos, int column) {
        switch (column) {
            case 0: return FIRST_ID + id / ROUND;
            case 1: return text(NAMES, id, 1);
            case 2: return text(EMAILS, id, 2);
            case 3: return text(CARDS, id, 3);
            case 4: return text(CITY, id, 4);
            case 5: return text(STATE, id, 5);
            case 6: return time(instant(id, nanos));
            default: return text(PERSON_EXTRA, id, 0);
        }
    }
}
