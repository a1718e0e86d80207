import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs one question on Flink in this process.
 *
 * Arguments: the file with the query, rounds of 50 events, readers, nanoseconds from event to event, milliseconds between checkpoints (0: none),
 * their directory, and a file for the rows of the result, or `-` to count and drop them.
 */
public final class Driver {
    private static final String BID = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING";
    private static final String AUCTION =
        "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), expires TIMESTAMP(3),"
            + " seller BIGINT, category BIGINT, extra STRING";
    private static final String PERSON =
        "id BIGINT, name STRING, email STRING, credit_card STRING, city STRING, state STRING, date_time TIMESTAMP(3), extra STRING";

    public static void main(String[] args) throws Exception {
        String query = Files.readString(Path.of(args[0]));
        long rounds = Long.parseLong(args[1]);
        int readers = Integer.parseInt(args[2]);
        long nanos = Long.parseLong(args[3]);
        long every = Long.parseLong(args[4]);

        Configuration conf = new Configuration();
        conf.set(PipelineOptions.OBJECT_REUSE, true);
        if (every > 0) {
            conf.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(every));
            conf.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, Path.of(args[5]).toUri().toString());
            conf.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(readers, conf);
        StreamTableEnvironment tables = StreamTableEnvironment.create(env);
        // as in the configuration of the NEXMark suite for Flink
        tables.getConfig().set("table.exec.mini-batch.enabled", "true");
        tables.getConfig().set("table.exec.mini-batch.allow-latency", "2 s");
        tables.getConfig().set("table.exec.mini-batch.size", "50000");
        tables.getConfig().set("table.optimizer.distinct-agg.split.enabled", "true");
        for (String[] table : new String[][] {{"person", PERSON}, {"auction", AUCTION}, {"bid", BID}}) {
            tables.executeSql(String.format(
                "CREATE TABLE %s (%s, WATERMARK FOR date_time AS date_time - INTERVAL '0.001' SECOND)"
                    + " WITH ('connector' = 'nexmark', 'kind' = '%s', 'rounds' = '%d', 'partitions' = '%d', 'nanos' = '%d')",
                table[0], table[1], table[0], rounds, readers, nanos));
        }
        if (!args[6].equals("-")) {
            write(tables.executeSql(query), Path.of(args[6]));
            return;
        }
        tables.sqlQuery(query).insertInto(TableDescriptor.forConnector("blackhole").build()).execute().await();
    }

    /** The rows that remain when all changes are added up, as lines. */
    private static void write(TableResult result, Path file) throws Exception {
        Map<String, Long> rows = new HashMap<>();
        try (CloseableIterator<Row> changes = result.collect()) {
            while (changes.hasNext()) {
                Row row = changes.next();
                boolean more = row.getKind() == RowKind.INSERT || row.getKind() == RowKind.UPDATE_AFTER;
                rows.merge(line(row), more ? 1L : -1L, Long::sum);
            }
        }
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            for (Map.Entry<String, Long> row : rows.entrySet()) {
                if (row.getValue() < 0) {
                    throw new IllegalStateException("a row was taken back that was never sent: " + row.getKey());
                }
                for (long i = 0; i < row.getValue(); i++) {
                    out.write(row.getKey());
                    out.newLine();
                }
            }
        }
    }

    private static String line(Row row) {
        List<String> fields = new ArrayList<>();
        for (int i = 0; i < row.getArity(); i++) {
            Object field = row.getField(i);
            // times as milliseconds
            fields.add(field instanceof LocalDateTime
                ? String.valueOf(((LocalDateTime) field).toInstant(ZoneOffset.UTC).toEpochMilli()) : String.valueOf(field));
        }
        return String.join("\t", fields);
    }
}
