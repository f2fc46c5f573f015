import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.Mapper;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.output.FileOutputFormat;
import org.apache.hadoop.mapreduce.lib.reduce.LongSumReducer;
import org.apache.hadoop.util.GenericOptionsParser;

/** Sums WORK INPUT OUTPUT: the works that Hadoop's examples lack, sums by key and bytes by path. */
public class Sums {
  /** key TAB number. */
  public static class Pairs extends Mapper<LongWritable, Text, Text, LongWritable> {
    private final Text key = new Text();
    private final LongWritable value = new LongWritable();

    @Override
    protected void map(LongWritable offset, Text line, Context context) throws IOException, InterruptedException {
      String text = line.toString();
      int tab = text.indexOf('\t');
      key.set(text.substring(0, tab));
      value.set(Long.parseLong(text.substring(tab + 1)));
      context.write(key, value);
    }
  }

  /** A line of an access log. */
  public static class Log extends Mapper<LongWritable, Text, Text, LongWritable> {
    private final Text key = new Text();
    private final LongWritable value = new LongWritable();

    @Override
    protected void map(LongWritable offset, Text line, Context context) throws IOException, InterruptedException {
      String[] fields = line.toString().split(" ", 11);
      int query = fields[6].indexOf('?');
      key.set(query < 0 ? fields[6] : fields[6].substring(0, query));
      value.set(Long.parseLong(fields[9]));
      context.write(key, value);
    }
  }

  public static void main(String[] args) throws Exception {
    Configuration configuration = new Configuration();
    String[] rest = new GenericOptionsParser(configuration, args).getRemainingArgs();
    Job job = Job.getInstance(configuration, rest[0]);
    job.setJarByClass(Sums.class);
    job.setMapperClass(rest[0].equals("log") ? Log.class : Pairs.class);
    job.setCombinerClass(LongSumReducer.class);
    job.setReducerClass(LongSumReducer.class);
    job.setOutputKeyClass(Text.class);
    job.setOutputValueClass(LongWritable.class);
    FileInputFormat.addInputPath(job, new Path(rest[1]));
    FileOutputFormat.setOutputPath(job, new Path(rest[2]));
    System.exit(job.waitForCompletion(true) ? 0 : 1);
  }
}
